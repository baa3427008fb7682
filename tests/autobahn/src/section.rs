//! The sections of Autobahn's cases, counted up for people. It judges nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::verdict::Verdicts;

/// The sections that concern this broker. Autobahn has no section 8; 12 and 13 are about compression, which it does not
/// offer.
pub(crate) const SECTIONS: [(u32, &str); 9] = [
    (1, "framing"),
    (2, "pings and pongs"),
    (3, "reserved bits"),
    (4, "opcodes"),
    (5, "fragmentation"),
    (6, "UTF-8"),
    (7, "closing"),
    (9, "limits and performance"),
    (10, "miscellaneous"),
];

/// One line of the summary.
pub(crate) struct Counted {
    pub(crate) section: String,
    pub(crate) cases: usize,
    /// How often each behaviour occurred.
    pub(crate) behaviors: String,
}

/// Counts the verdicts of each section that has any.
pub(crate) fn count(verdicts: &Verdicts) -> Vec<Counted> {
    let mut counted = Vec::new();
    for (number, name) in SECTIONS {
        let of_section: Vec<_> = verdicts.iter().filter(|(case, _)| case.section() == number).collect();
        if of_section.is_empty() {
            continue;
        }
        let mut behaviors: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, verdict) in &of_section {
            *behaviors.entry(&verdict.behavior).or_default() += 1;
        }
        let behaviors: Vec<String> = behaviors.iter().map(|(behavior, times)| format!("{times} {behavior}")).collect();
        counted.push(Counted {
            section: format!("{number} {name}"),
            cases: of_section.len(),
            behaviors: behaviors.join(", "),
        });
    }
    counted
}

/// The page for people.
pub(crate) fn page(verdicts: &Verdicts, versions: &str) -> String {
    let mut page = String::from(
        "# What Autobahn says of the broker's WebSocket code\n\n\
         Written by `tests/autobahn/run --record`; do not edit. The server is the broker's own way from `accept` over the\n\
         upgrade gate to the frame reader and the outbox, with sessions that echo instead of speaking Rialto's protocol and\n\
         with limits wide enough for section 9. `tests/autobahn/run` fails when any case differs from `expected.json`.\n\n",
    );
    let _ = writeln!(page, "{versions}\n\n| section | cases | Autobahn says |\n|---|---|---|");
    for Counted { section, cases, behaviors } in count(verdicts) {
        let _ = writeln!(page, "| {section} | {cases} | {behaviors} |");
    }
    let closed: Vec<_> = verdicts.values().filter(|verdict| verdict.behavior_close != "OK").collect();
    let informational = closed.iter().filter(|verdict| verdict.behavior_close == "INFORMATIONAL").count();
    let _ = writeln!(
        page,
        "\nOf {} cases {} were closed properly, {informational} more are informational, {} were not.",
        verdicts.len(),
        verdicts.len() - closed.len(),
        closed.len() - informational
    );
    let odd = verdicts.iter().filter(|(_, verdict)| verdict.behavior != "OK" || verdict.behavior_close != "OK");
    page.push_str("\nCases that are not plainly OK:\n\n| case | verdict |\n|---|---|\n");
    for (case, verdict) in odd {
        let _ = writeln!(page, "| {case} | {verdict} |");
    }
    page.push_str(
        "\nNON-STRICT in 6.4 means that text in fragments which cannot become UTF-8 is refused with 1007 when its last\n\
         fragment is there and not earlier, which RFC 6455 section 8.1 allows. INFORMATIONAL cases have no right answer.\n\
         Sections 12 and 13 are about compression, which the broker does not offer.\n",
    );
    page
}
