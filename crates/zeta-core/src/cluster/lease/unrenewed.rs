//! What a holder is told while its grant cannot be renewed, because no server answers.

/// How much of the TTL of a grant had passed without a renewal when its holder was told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// Nothing was said.
    #[default]
    Nothing,
    /// Half of it.
    Half,
    /// Three quarters of it.
    ThreeQuarters,
}

/// What there is to say after an attempt to renew a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It could not be renewed for half of its TTL, or for three quarters.
    Unrenewed,
    /// It is renewed again.
    Renewed,
}

/// Decides what the holder of a grant is told after an attempt to renew it, and notes that in
/// `told`. `age_ms` is how long ago it was renewed last. Each part of the TTL is told once.
pub fn decide_news(told: &mut Told, is_renewed: bool, age_ms: u64, ttl_ms: u64) -> Option<News> {
    let before = *told;
    if is_renewed {
        *told = Told::Nothing;
        return (before != Told::Nothing).then_some(News::Renewed);
    }
    let due = match age_ms.saturating_mul(4) {
        quarters if quarters >= ttl_ms.saturating_mul(3) => Told::ThreeQuarters,
        quarters if quarters >= ttl_ms.saturating_mul(2) => Told::Half,
        _ => Told::Nothing,
    };
    *told = due.max(before);
    (due > before).then_some(News::Unrenewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_told_at_half_and_at_three_quarters_and_when_it_is_well_again() {
        const TTL_MS: u64 = 60_000;
        let (no, yes) = (false, true);
        for attempts in [
            // Short troubles are none.
            &[(no, 15_000, None), (no, 29_999, None), (yes, 0, None)][..],
            &[
                (no, 30_000, Some(News::Unrenewed)),
                (no, 31_000, None),
                (no, 44_999, None),
                (no, 45_000, Some(News::Unrenewed)),
                (no, 56_000, None),
                (yes, 0, Some(News::Renewed)),
                (yes, 0, None),
                // The next time, it begins anew.
                (no, 15_000, None),
                (no, 33_000, Some(News::Unrenewed)),
                (yes, 0, Some(News::Renewed)),
            ],
            // An attempt that took long, or a machine that slept: one word is enough.
            &[
                (no, 50_000, Some(News::Unrenewed)),
                (no, 55_000, None),
                (yes, 0, Some(News::Renewed)),
            ],
        ] {
            let mut told = Told::default();
            for (is_renewed, age_ms, wanted) in attempts {
                let news = decide_news(&mut told, *is_renewed, *age_ms, TTL_MS);
                assert_eq!(news, *wanted, "{is_renewed} at {age_ms} ms of {attempts:?}");
            }
        }
    }

    #[test]
    fn the_longest_ttl_is_no_overflow() {
        let mut told = Told::default();
        assert_eq!(decide_news(&mut told, false, u64::MAX, u64::MAX), Some(News::Unrenewed));
        assert_eq!(told, Told::ThreeQuarters);
    }
}
