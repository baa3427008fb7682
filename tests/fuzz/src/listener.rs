//! What a server has to make of a client's frames (RFC 6455 section 5), found slowly: with all bytes at hand, one frame
//! after the other. It knows what is wrong with a frame, not how anybody finds out.

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

/// What a message consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
}

/// What a broker puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub message_bytes: usize,
    pub fragments: usize,
}

/// What can be wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Reserved bits or opcodes, no mask, control frames in fragments or over 125 bytes, a bad close code.
    Forbidden,
    /// A continuation of nothing, or a message inside another.
    Order,
    /// A length that is not written in the shortest form.
    LongForm,
    /// More bytes than the limit allows.
    Size,
    /// More fragments than the limit allows.
    Fragments,
    /// Text or a close reason that is not UTF-8.
    Text,
}

impl Flaw {
    /// The code to close with (RFC 6455 section 7.4.1).
    pub fn code(self) -> u16 {
        match self {
            Self::Forbidden | Self::Order | Self::LongForm => 1002,
            Self::Text => 1007,
            Self::Size | Self::Fragments => 1009,
        }
    }
}

/// How listening ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The bytes end, and nothing is wrong with them.
    Open,
    /// The peer says goodbye, maybe with a code.
    PeerClosed(Option<u16>),
    /// The connection has to be closed for one of these; if there is more than one, any will do.
    Refused(Vec<Flaw>),
    /// The same, but the frame has not arrived whole: it may also be waited for.
    Refusable(Vec<Flaw>),
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceOutcome {
    pub messages: Vec<(Kind, Vec<u8>)>,
    /// The payloads of pings, which pongs have to repeat.
    pub pings: Vec<Vec<u8>>,
    pub end: End,
    /// The text that had begun and not ended when listening ended: one that is not UTF-8 may be refused before its last
    /// fragment has come.
    pub text_open: Option<Vec<u8>>,
}

/// Listens to a stream of frames from its beginning.
pub fn listen(bytes: &[u8], limits: Limits) -> ReferenceOutcome {
    let mut listener = Listener { limits, messages: Vec::new(), pings: Vec::new(), begun: None, fragments: 0 };
    let mut rest = bytes;
    let end = loop {
        if rest.is_empty() {
            break End::Open;
        }
        let frame = Header::read(rest);
        match listener.frame(&frame, rest) {
            Ok(length) => rest = &rest[length..],
            Err(end) => break end,
        }
    };
    let Listener { messages, pings, begun, .. } = listener;
    let text_open = begun.and_then(|(kind, bytes)| (kind == Kind::Text).then_some(bytes));
    ReferenceOutcome { messages, pings, end, text_open }
}

/// The header of a frame, as far as it has arrived.
struct Header {
    first: u8,
    second: Option<u8>,
    /// The length of the payload, and in how many bytes beyond the second it is written.
    length: Option<(u64, usize)>,
    mask: Option<[u8; 4]>,
    bytes: usize,
}

impl Header {
    /// Reads at least one byte.
    fn read(bytes: &[u8]) -> Self {
        let mut header = Self { first: bytes[0], second: bytes.get(1).copied(), length: None, mask: None, bytes: 2 };
        let Some(second) = header.second else { return header };
        let long = match second & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        header.bytes += long;
        header.length = match (long, bytes.get(2..2 + long)) {
            (0, _) => Some((u64::from(second & !MASKED), 0)),
            (_, Some(digits)) => Some((digits.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)), long)),
            (_, None) => None,
        };
        if second & MASKED != 0 {
            header.mask = bytes.get(header.bytes..header.bytes + 4).map(|mask| [mask[0], mask[1], mask[2], mask[3]]);
            header.bytes += 4;
        }
        header
    }

    fn is_whole(&self) -> bool {
        self.length.is_some() && (self.mask.is_some() || self.second.is_some_and(|second| second & MASKED == 0))
    }

    fn opcode(&self) -> u8 {
        self.first & OPCODE
    }

    fn is_control(&self) -> bool {
        self.opcode() >= 8
    }

    fn fin(&self) -> bool {
        self.first & FIN != 0
    }

    /// What is wrong with the header alone.
    fn flaws(&self, limits: Limits) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        let unmasked = self.second.is_some_and(|second| second & MASKED == 0);
        let reserved = self.first & RESERVED != 0 || matches!(self.opcode(), 3..8 | 11..);
        if reserved || unmasked || (self.is_control() && !self.fin()) {
            flaws.push(Flaw::Forbidden);
        }
        if let Some((length, written_in)) = self.length {
            let needed = match length {
                0..126 => 0,
                126..0x1_0000 => 2,
                _ => 8,
            };
            if written_in != needed || length >> 63 != 0 {
                flaws.push(Flaw::LongForm);
            }
            if length > limits.message_bytes as u64 {
                flaws.push(Flaw::Size);
            }
        }
        flaws
    }
}

struct Listener {
    limits: Limits,
    messages: Vec<(Kind, Vec<u8>)>,
    pings: Vec<Vec<u8>>,
    begun: Option<(Kind, Vec<u8>)>,
    fragments: usize,
}

impl Listener {
    /// Takes in one frame and gives its length, or how it ends the listening.
    fn frame(&mut self, header: &Header, bytes: &[u8]) -> Result<usize, End> {
        let mut flaws = header.flaws(self.limits);
        if header.is_whole() && !flaws.is_empty() {
            // Nobody has to wait for the payload to know this.
            self.look_further(header, &mut flaws);
            return Err(End::Refused(flaws));
        }
        self.look_further(header, &mut flaws);
        let (Some((length, _)), Some(mask)) = (header.length, header.mask) else { return Err(unfinished(flaws)) };
        let length = usize::try_from(length).expect("within the limit");
        let Some(payload) = bytes.get(header.bytes..header.bytes + length) else { return Err(unfinished(flaws)) };
        let payload: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        if header.is_control() {
            self.control(header.opcode(), payload, flaws)?
        } else {
            self.data(header, payload, flaws)?
        }
        Ok(header.bytes + length)
    }

    /// Adds what is wrong with a frame in its place.
    fn look_further(&self, header: &Header, flaws: &mut Vec<Flaw>) {
        let opens = matches!(header.opcode(), 1 | 2);
        if (opens && self.begun.is_some()) || (header.opcode() == 0 && self.begun.is_none()) {
            flaws.push(Flaw::Order);
        }
        if header.is_control() && header.length.is_some_and(|(length, _)| length > 125) {
            flaws.push(Flaw::Forbidden);
        }
    }

    fn control(&mut self, opcode: u8, payload: Vec<u8>, mut flaws: Vec<Flaw>) -> Result<(), End> {
        let mut closing = None;
        if opcode == 8 {
            match payload.split_first_chunk() {
                Some((code, reason)) => {
                    let code = u16::from_be_bytes(*code);
                    closing = Some(Some(code));
                    if !may_be_sent(code) {
                        flaws.push(Flaw::Forbidden);
                    }
                    if std::str::from_utf8(reason).is_err() {
                        flaws.push(Flaw::Text);
                    }
                }
                None if payload.is_empty() => closing = Some(None),
                None => flaws.push(Flaw::Forbidden),
            }
        }
        if !flaws.is_empty() {
            return Err(End::Refused(flaws));
        }
        if let Some(code) = closing {
            return Err(End::PeerClosed(code));
        }
        if opcode == 9 {
            self.pings.push(payload);
        }
        Ok(())
    }

    fn data(&mut self, header: &Header, payload: Vec<u8>, mut flaws: Vec<Flaw>) -> Result<(), End> {
        if !flaws.is_empty() {
            if header.opcode() == 1 && header.fin() && std::str::from_utf8(&payload).is_err() {
                flaws.push(Flaw::Text);
            }
            return Err(End::Refused(flaws));
        }
        let opened = if header.opcode() == 2 { Kind::Binary } else { Kind::Text };
        let (kind, mut message) = self.begun.take().unwrap_or((opened, Vec::new()));
        message.extend(payload);
        self.fragments += 1;
        // A message that comes in one frame is not fragmented.
        if self.fragments > self.limits.fragments && !(header.fin() && self.fragments == 1) {
            flaws.push(Flaw::Fragments);
        }
        if message.len() > self.limits.message_bytes {
            flaws.push(Flaw::Size);
        }
        if header.fin() && kind == Kind::Text && std::str::from_utf8(&message).is_err() {
            flaws.push(Flaw::Text);
        }
        if !flaws.is_empty() {
            self.begun = Some((kind, message));
            return Err(End::Refused(flaws));
        }
        if header.fin() {
            self.fragments = 0;
            self.messages.push((kind, message));
        } else {
            self.begun = Some((kind, message));
        }
        Ok(())
    }
}

fn unfinished(flaws: Vec<Flaw>) -> End {
    if flaws.is_empty() { End::Open } else { End::Refusable(flaws) }
}

/// Which codes may stand in a Close: those of the IANA registry, and those for libraries and applications.
fn may_be_sent(code: u16) -> bool {
    let never = [1004, 1005, 1006, 1015];
    ((1000..=1014).contains(&code) && !never.contains(&code)) || (3000..5000).contains(&code)
}
