// Shows what comes, as it comes.
if (new URLSearchParams(location.search).has("t")) {
  history.replaceState(null, "", location.pathname + location.hash);
}
const state = document.getElementById("state");
const events = new EventSource("/events");
for (const name of ["overview", "changes"]) {
  events.addEventListener(name, (event) => {
    state.textContent = JSON.stringify(JSON.parse(event.data), null, 1);
  });
}
