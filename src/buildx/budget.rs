//! A limit on the memory that a stream from outside may take.

/// Bytes that may still be kept.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn of(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Takes that many bytes; false, and nothing is taken, if fewer are left.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }

    /// Returns bytes that are no longer used.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }
}

/// At most that many bytes of the text, cut between characters.
pub(super) fn cut(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut budget = Budget::of(10);
        assert!(budget.take(4) && budget.take(6));
        assert!(!budget.take(1));
        budget.give_back(6);
        assert!(!budget.take(7) && budget.take(6));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("éé", 3), "é");
        assert_eq!(cut("éé", 9), "éé");
    }
}
