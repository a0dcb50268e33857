//! What the agents write to each other. The ones that hooks keep read theirs; the others have some
//! unread.

/// A message.
pub(super) struct Message {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) text: &'static str,
    /// It is sent after the lease of this number.
    pub(super) after: usize,
}

const fn message(
    after: usize,
    from: &'static str,
    to: &'static str,
    text: &'static str,
) -> Message {
    Message { from, to, text, after }
}

/// All messages, in their order.
pub(super) const MESSAGES: [Message; 10] = [
    message(3, "juno", "*", "main is green again, SHOP-221 is merged"),
    message(
        7,
        "iris",
        "nils",
        "the API pages need the sizes of the pictures: which ones do you keep?",
    ),
    message(9, "nils", "iris", "320, 640 and 1280, as AVIF and JPEG"),
    message(14, "nova", "vera", "may I import the prices before you deploy?"),
    message(15, "vera", "nova", "after it, please: ten minutes"),
    message(
        15,
        "kai",
        "lior",
        "I build the index anew at full load, your search is slow meanwhile",
    ),
    message(21, "lior", "kai", "了解、待ちます: I wait"),
    message(23, "finn", "otto", "the invoice test fails in Firefox: the date field is empty"),
    message(29, "juno", "mira", "SHOP-228 touches the price of SHOP-224: rebase before you push"),
    message(34, "finn", "vera", "is staging up? the browser tests wait for it"),
];
