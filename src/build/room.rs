//! How much may be kept of a stream that others write.

/// Bytes that may still be kept.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    pub(super) fn of(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Takes so many bytes; false, and nothing is taken, where there are not as many.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }

    /// Gives them back when what took them has gone.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }
}

/// The text up to so many bytes, between characters.
pub(super) fn cut(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut room = Room::of(10);
        assert!(room.take(4) && room.take(6));
        assert!(!room.take(1));
        room.give_back(6);
        assert!(!room.take(7) && room.take(6));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("éé", 3), "é");
        assert_eq!(cut("éé", 9), "éé");
    }
}
