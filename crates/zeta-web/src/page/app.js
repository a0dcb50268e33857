// Shows what comes, as it comes.
history.replaceState(null, "", new URL(".", import.meta.url).pathname + location.hash);
const state = document.getElementById("state");
const events = new EventSource(new URL("events", import.meta.url));
for (const name of ["overview", "changes"]) {
  events.addEventListener(name, (event) => {
    state.textContent = JSON.stringify(JSON.parse(event.data), null, 1);
  });
}
