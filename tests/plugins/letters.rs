//! The letters that choose how the hostile plugin misbehaves, each with the kind of failure that its caller is told.

pub(crate) const TRAP: &str = "trap";
pub(crate) const DEADLINE: &str = "within 50 ms";
pub(crate) const LIMIT: &str = "exceeded one of its limits";
pub(crate) const INVALID: &str = "not valid";
pub(crate) const SAID: &str = "could not do its work";

/// What happens in any hook.
pub(crate) const ANYWHERE: [(char, &str, &str); 14] = [
    ('t', TRAP, "unreachable"),
    ('l', DEADLINE, "an endless loop"),
    ('m', LIMIT, "all memory, and then some"),
    ('r', LIMIT, "endless recursion"),
    ('f', LIMIT, "host calls for ever"),
    ('F', LIMIT, "log lines for ever"),
    ('p', LIMIT, "messages for ever"),
    ('B', TRAP, "a text outside its memory"),
    ('E', TRAP, "a log level that does not exist"),
    ('U', TRAP, "a text that is not UTF-8"),
    ('x', TRAP, "effects and then a trap"),
    ('y', DEADLINE, "effects and then a loop"),
    ('8', DEADLINE, "a loop after the return"),
    ('9', TRAP, "a trap after the return"),
];

/// What a hook that gives something back can do besides.
pub(crate) const RETURNED: [(char, &str, &str); 11] = [
    ('S', SAID, "it says so itself"),
    ('X', SAID, "it says so itself after effects"),
    ('s', TRAP, "it says so in bytes that are no text"),
    ('h', LIMIT, "a list of three million bytes"),
    ('H', "", "a list of two billion bytes that are not there"),
    ('u', INVALID, "JSON that is not UTF-8"),
    ('j', INVALID, "JSON that is no JSON"),
    ('N', INVALID, "MessagePack NaN"),
    ('D', INVALID, "a value nested too deep"),
    ('v', TRAP, "an encoding that does not exist"),
    ('w', TRAP, "a result that does not exist"),
];
