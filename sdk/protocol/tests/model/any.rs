//! Strategies: values and frames, right, wrong in one way, or wild.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{DEPTH_MAX, Key, Model};

pub(crate) type Entries = Vec<(Key, Model)>;

/// Fields that no request knows.
const UNKNOWN: [&str; 3] = ["zzz", "x-y", ""];

/// A value that is carried and that the two codecs tell apart in the same way: no `bin`, which JSON has no form for.
pub(crate) fn plain_value() -> impl Strategy<Value = Model> {
    nest(leaf().boxed())
}

/// Any value that is carried.
pub(crate) fn value() -> impl Strategy<Value = Model> {
    nest(prop_oneof![5 => leaf(), 1 => vec(any::<u8>(), 0..40).prop_map(Model::Bytes)].boxed())
}

/// A value that is not carried, with the fault at some depth of it.
pub(crate) fn faulty_value() -> impl Strategy<Value = Model> {
    let fault = prop_oneof![
        select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).prop_map(Model::NotFinite),
        Just(Model::BrokenText),
        (faulty_key(), plain_value()).prop_map(|entry| Model::Map(vec![entry])),
        (1..3_usize).prop_map(|more| Model::Array(vec![]).in_arrays(DEPTH_MAX - 1 + more)),
        Just(Model::Null.in_arrays(200)),
        Just(Model::map([("deep", Model::map([]).in_arrays(DEPTH_MAX - 1))])),
    ];
    (fault, 0..4_usize, value()).prop_map(|(fault, depth, beside)| {
        let value = Model::Array(vec![beside, fault.in_arrays(depth)]);
        Model::map([("good", Model::Bool(true)), ("faulty", value)])
    })
}

pub(crate) fn faulty_key() -> impl Strategy<Value = Key> {
    prop_oneof![Just(Key::Broken), any::<u8>().prop_map(Key::Number)]
}

fn leaf() -> impl Strategy<Value = Model> {
    prop_oneof![
        Just(Model::Null),
        any::<bool>().prop_map(Model::Bool),
        whole().prop_map(Model::Whole),
        float().prop_map(Model::Float),
        text().prop_map(Model::Text),
    ]
}

fn whole() -> impl Strategy<Value = i128> {
    prop_oneof![
        any::<i64>().prop_map(i128::from),
        any::<u64>().prop_map(i128::from),
        -130..260_i128,
        select(vec![i64::MIN.into(), i64::MAX.into(), u64::MAX.into(), 1 << 53, (1 << 53) + 1, -(1 << 53) - 1, 0]),
    ]
}

fn float() -> impl Strategy<Value = f64> {
    use prop::num::f64;
    let odd =
        vec![0.0, -0.0, 1.0, -1.0, 5e-324, f64::MAX, f64::MIN, 1e20, 1.8446744073709552e19, 0.1 + 0.2, 1e300, 2.5];
    prop_oneof![f64::NORMAL | f64::SUBNORMAL | f64::ZERO, select(odd)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[a-z\"\\\\/\n\t\u{0}-\u{1f}é€😀]{0,40}",
        select(vec!["\u{feff}", "\u{2028}", "\u{10ffff}", "id", "type"]).prop_map(str::to_owned),
        (30..300_usize).prop_map(|length| "x".repeat(length)),
    ]
}

fn nest(leaf: BoxedStrategy<Model>) -> impl Strategy<Value = Model> {
    let deep = (leaf.clone(), 0..=DEPTH_MAX).prop_map(|(leaf, depth)| leaf.in_arrays(depth));
    let wide = leaf.prop_recursive(5, 48, 18, |inner| {
        let entry = (text().prop_map(Key::Text), inner.clone());
        prop_oneof![vec(inner, 0..18).prop_map(Model::Array), vec(entry, 0..18).prop_map(Model::Map)]
    });
    prop_oneof![8 => wide, 1 => deep]
}

fn field(name: &'static str, value: impl Strategy<Value = Model> + 'static) -> BoxedStrategy<Entries> {
    value.prop_map(move |value| vec![(Key::Text(name.to_owned()), value)]).boxed()
}

fn perhaps(entries: BoxedStrategy<Entries>) -> BoxedStrategy<Entries> {
    prop_oneof![Just(Vec::new()), entries].boxed()
}

fn all(parts: Vec<BoxedStrategy<Entries>>) -> BoxedStrategy<Entries> {
    parts.prop_map(|parts| parts.concat()).boxed()
}

fn one(parts: Vec<BoxedStrategy<Entries>>) -> BoxedStrategy<Entries> {
    proptest::strategy::Union::new(parts).boxed()
}

fn text_field(name: &'static str) -> BoxedStrategy<Entries> {
    field(name, text().prop_map(Model::Text))
}

fn count() -> impl Strategy<Value = Model> {
    prop_oneof![any::<u64>().prop_map(i128::from), 0..300_i128].prop_map(Model::Whole)
}

fn payload() -> BoxedStrategy<Entries> {
    one(vec![field("data", value()), field("bytes", vec(any::<u8>(), 0..300).prop_map(Model::Bytes))])
}

fn since() -> impl Strategy<Value = Model> {
    (text(), count()).prop_map(|(epoch, offset)| Model::map([("epoch", Model::Text(epoch)), ("offset", offset)]))
}

fn delivery() -> impl Strategy<Value = Model> {
    prop_oneof![
        select(vec!["queue", "drop_oldest", "latest"]).prop_map(Model::text),
        select(vec!["", "/symbol", "/a~1b/0"])
            .prop_map(|field| Model::map([("policy", Model::text("latest_by")), ("field", Model::text(field))])),
        (1..3_600_001_i128)
            .prop_map(|ms| Model::map([("every_ms", Model::Whole(ms)), ("policy", Model::text("sample"))])),
    ]
}

fn subscription() -> BoxedStrategy<Entries> {
    all(vec![
        text_field("topic"),
        perhaps(field("since", since())),
        perhaps(field("last", count())),
        perhaps(field("delivery", delivery())),
        perhaps(field("presence", any::<bool>().prop_map(Model::Bool))),
    ])
}

/// Either the fields of one topic, or a list of such maps.
fn one_or_many(fields: BoxedStrategy<Entries>) -> BoxedStrategy<Entries> {
    let list = vec(fields.clone().prop_map(Model::Map), 1..20).prop_map(Model::Array);
    one(vec![fields, field("topics", list)])
}

/// A request that is right, its fields in any order.
pub(crate) fn request() -> impl Strategy<Value = Entries> {
    let kind = |name: &'static str| field("type", Just(Model::text(name)));
    let operation = one(vec![
        all(vec![
            kind("connect"),
            one(vec![perhaps(text_field("token")), all(vec![text_field("user"), text_field("password")])]),
            perhaps(text_field("client")),
            perhaps(field("instance", "[A-Za-z0-9_-]{22,64}".prop_map(|text| Model::text(&text)))),
        ]),
        all(vec![kind("subscribe"), one_or_many(subscription())]),
        all(vec![kind("unsubscribe"), one_or_many(text_field("topic"))]),
        all(vec![
            kind("publish"),
            text_field("topic"),
            payload(),
            perhaps(text_field("key")),
            perhaps(field("echo", any::<bool>().prop_map(Model::Bool))),
        ]),
        all(vec![
            kind("call"),
            one(vec![text_field("topic"), text_field("plugin")]),
            text_field("method"),
            perhaps(payload()),
            perhaps(text_field("key")),
        ]),
        all(vec![
            kind("history"),
            text_field("topic"),
            perhaps(one(vec![field("since", since()), field("before", since())])),
            perhaps(field("limit", count())),
        ]),
        all(vec![kind("presence"), text_field("topic")]),
        all(vec![kind("ping"), perhaps(field("data", value()))]),
    ]);
    // No operation above knows these; "epoch" and "offset" are known, but elsewhere. What is unknown may stand twice.
    let beside = vec(one(UNKNOWN.map(|name| field(name, value())).to_vec()), 0..3);
    let beside = beside.prop_map(|parts| parts.concat()).boxed();
    let elsewhere = vec![perhaps(field("epoch", value())), perhaps(field("offset", value()))];
    let id = (1..=u64::MAX).prop_map(|id| Model::Whole(id.into()));
    all([vec![operation, beside, perhaps(field("id", id))], elsewhere].concat()).prop_shuffle()
}

/// What is wrong with a frame.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A field that nobody knows holds a value that is not carried.
    Unknown(Model),
    /// A field holds a value that is not carried, or has one inside its map.
    Held(Model),
    /// A key is not a text.
    Key(Key),
    /// A known field stands twice.
    Twice,
    /// A field is missing, if it matters.
    Missing,
    /// A field has another value, if it matters.
    Other(Model),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        faulty_value().prop_map(Fault::Unknown),
        faulty_value().prop_map(Fault::Held),
        faulty_key().prop_map(Fault::Key),
        Just(Fault::Twice),
        Just(Fault::Missing),
        plain_value().prop_map(Fault::Other),
        select(vec![0, 1, -1]).prop_map(|number| Fault::Other(Model::Whole(number))),
        Just(Fault::Other(Model::map([]))),
        Just(Fault::Other(Model::Array(vec![Model::map([])]))),
    ]
}

/// A request with one fault, and whether the model is sure that it must be refused.
pub(crate) fn damaged_request() -> impl Strategy<Value = (Entries, bool)> {
    (request(), fault(), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |(mut entries, fault, which, place)| {
            let (which, place) = (which.index(entries.len()), place.index(entries.len() + 1));
            match fault {
                Fault::Unknown(value) => entries.insert(place, (Key::Text("zzz".to_owned()), value)),
                Fault::Held(fault) => match &mut entries[which].1 {
                    Model::Map(inner) => inner.push((Key::Text("zzz".to_owned()), fault)),
                    Model::Array(items) => items.push(fault),
                    value => *value = fault,
                },
                Fault::Key(key) => entries.insert(place, (key, Model::Null)),
                Fault::Twice => {
                    let again = entries[which].clone();
                    entries.insert(place, again);
                }
                Fault::Missing => drop(entries.remove(which)),
                // In `bytes` a text means something in JSON only.
                Fault::Other(value) => {
                    if !entries[which].0.is("bytes") {
                        entries[which].1 = value;
                    }
                    return (entries, false);
                }
            }
            let is_sure = entries.iter().any(|(_, value)| !value.is_carried())
                || entries.iter().any(|(key, _)| !matches!(key, Key::Text(_)))
                || stands_twice(&entries);
            (entries, is_sure)
        },
    )
}

/// Whether a field that the protocol knows stands twice.
fn stands_twice(entries: &Entries) -> bool {
    entries.iter().enumerate().any(|(place, (key, _))| {
        let is_known = UNKNOWN.iter().all(|name| !key.is(name));
        is_known && entries[..place].iter().any(|(earlier, _)| earlier == key)
    })
}

/// A map of fields that have nothing to do with one another.
pub(crate) fn wild_frame() -> impl Strategy<Value = Entries> {
    let names = vec!["type", "id", "topic", "topics", "data", "key", "echo", "since", "delivery", "policy", "zzz", ""];
    let kinds = vec!["connect", "subscribe", "unsubscribe", "publish", "call", "history", "presence", "ping", "fly"];
    let kind = select(kinds).prop_map(|kind| (Key::Text("type".to_owned()), Model::text(kind)));
    let key = prop_oneof![20 => select(names).prop_map(|name| Key::Text(name.to_owned())), 1 => faulty_key()];
    let held = prop_oneof![4 => plain_value(), 1 => faulty_value()];
    (kind, vec((key, held), 0..6)).prop_map(|(kind, mut entries)| {
        entries.insert(entries.len() / 2, kind);
        entries
    })
}
