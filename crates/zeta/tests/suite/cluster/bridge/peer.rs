//! Other writers: a second machine with the same name, and peers that send what breaks the rules.
