//! Inspection: what a component is and needs, for `rialto plugin inspect`. It compiles and runs nothing.

use wasmparser::{Parser, Payload as Section};

use super::component::ComponentShape;
use crate::plugin::{LoadError, Manifest};

/// The size of a page of memory (WebAssembly core specification, section 4.2.8).
const PAGE_BYTES: u64 = 65_536;

/// The properties of one component.
#[derive(Debug)]
pub(crate) struct Inspection {
    pub(crate) manifest: Manifest,
    /// Whether it is a core module, which is wrapped into a component when it is loaded.
    pub(crate) is_module: bool,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    /// The initial size of its memories, in bytes.
    pub(crate) memory_bytes: u64,
    /// The sizes of its code and its data, in bytes.
    pub(crate) code_bytes: usize,
    pub(crate) data_bytes: usize,
    /// Why it would not load, as far as its imports and exports show.
    pub(crate) fault: Option<String>,
}

impl Inspection {
    /// Inspects a file.
    ///
    /// # Errors
    /// [`LoadError`] for a file that is not WebAssembly, cut off or damaged.
    pub(crate) fn of(wasm: &[u8]) -> Result<Self, LoadError> {
        let shape = ComponentShape::read(wasm)?;
        let manifest = Manifest::read(wasm, &shape);
        let fitting = shape.check().and_then(|protocol| manifest.check_protocol(protocol));
        let mut inspection = Self {
            manifest,
            is_module: shape.is_module,
            imports: shape.imports(),
            exports: shape.exports(),
            memory_bytes: 0,
            code_bytes: 0,
            data_bytes: 0,
            fault: fitting.err().map(|error| error.to_string()),
        };
        inspection.measure(wasm);
        Ok(inspection)
    }

    fn measure(&mut self, wasm: &[u8]) {
        for section in Parser::new(0).parse_all(wasm) {
            match section {
                Ok(Section::MemorySection(memories)) => {
                    let pages = memories.into_iter().flatten().map(|memory| memory.initial);
                    self.memory_bytes = pages
                        .fold(self.memory_bytes, |sum, pages| sum.saturating_add(pages.saturating_mul(PAGE_BYTES)));
                }
                Ok(Section::CodeSectionStart { range, .. }) => self.code_bytes += range.len(),
                Ok(Section::DataSection(data)) => self.data_bytes += data.range().len(),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}
