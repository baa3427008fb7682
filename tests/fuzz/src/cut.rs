//! Ways to cut a stream of bytes into the pieces in which it arrives. What a broker makes of a stream must not depend
//! on them.

/// One way to cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// All at once.
    Whole,
    /// Every byte alone, with a pause after each.
    Bytes,
    /// Pieces and pauses that follow from a number, small pieces more often than large ones.
    Uneven(u8),
}

/// What comes next of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// At most so many bytes.
    Bytes(usize),
    /// Nothing for now.
    Pause,
}

impl Cut {
    /// All kinds of cutting, with `seed` for the uneven one. The first is the one to compare the others with.
    pub fn all(seed: u8) -> [Self; 3] {
        [Self::Whole, Self::Bytes, Self::Uneven(seed)]
    }

    /// The pieces, one after the other.
    pub fn pieces(self) -> impl FnMut() -> Piece + Send {
        let mut state = match self {
            Self::Uneven(seed) => u32::from(seed) + 1,
            Self::Whole | Self::Bytes => 0,
        };
        move || match self {
            Self::Whole => Piece::Bytes(usize::MAX),
            Self::Bytes => {
                state ^= 1;
                if state == 1 { Piece::Bytes(1) } else { Piece::Pause }
            }
            Self::Uneven(_) => {
                // Marsaglia's xorshift: the same pieces for the same input, always.
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let size = (state >> 8) as usize;
                match state % 8 {
                    0 => Piece::Bytes(1 + size % 1_500),
                    1..5 => Piece::Bytes(1 + size % 12),
                    _ => Piece::Pause,
                }
            }
        }
    }
}
