//! References that the fuzz targets hold Rialto against: slow, plain, and written from the specifications. None of them
//! uses code that it judges.

pub mod answer;
pub mod cut;
pub mod grammar;
pub mod head;
pub mod listener;
pub mod name;
pub mod second;
pub mod sent;
pub mod tree;
pub mod wire;
