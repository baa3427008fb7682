//! The decisions of the project: each has its number, its sections, a length that is read, and a row in the index.

use super::{document, documents_in, none};

pub(crate) const FOLDER: &str = "broker/decisions";

/// The headings of a decision, in this order.
const SECTIONS: [&str; 5] = ["Status", "Context", "Decision", "Consequences", "Alternatives weighed"];

const LINES_MAX: usize = 80;

/// What is wrong with the decision of this number.
fn problems(number: usize, name: &str, text: &str, index: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !name.starts_with(&format!("{number:03}-")) {
        found.push(format!("is not number {number:03}"));
    }
    if !text.starts_with(&format!("# {number:03}: ")) {
        found.push(format!("does not begin with `# {number:03}: `"));
    }
    let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    if sections != SECTIONS {
        found.push(format!("has the sections {sections:?}, not {SECTIONS:?}"));
    }
    if text.lines().count() > LINES_MAX {
        found.push(format!("has more than {LINES_MAX} lines"));
    }
    if index.matches(&format!("]({name})")).count() != 1 {
        found.push("does not have one row in the index".to_owned());
    }
    found.into_iter().map(|what| format!("{FOLDER}/{name}:1: {what}")).collect()
}

#[test]
fn every_decision_has_its_number_its_sections_and_a_row_in_the_index() {
    let index = document(&format!("{FOLDER}/README.md")).text;
    let paths = documents_in(FOLDER).into_iter().filter(|path| !path.ends_with("/README.md"));
    none(
        (1..)
            .zip(paths)
            .flat_map(|(number, path)| {
                problems(number, path.rsplit('/').next().unwrap_or_default(), &document(&path).text, &index)
            })
            .collect(),
    );
}

#[test]
fn what_is_wrong_with_a_decision_is_found() {
    let sections = SECTIONS.map(|section| format!("## {section}\n\ntext\n\n")).concat();
    let good = format!("# 002: a title\n\n{sections}");
    let index = "| [002: a title](002-a-title.md) | accepted |";
    assert!(problems(2, "002-a-title.md", &good, index).is_empty());
    let found = |number, text: &str, index: &str| problems(number, "002-a-title.md", text, index).len();
    assert_eq!(found(3, &good, index), 2);
    assert_eq!(found(2, &good.replace("## Context", "## Background"), index), 1);
    assert_eq!(found(2, &format!("{good}{}", "line\n".repeat(LINES_MAX)), index), 1);
    assert_eq!(found(2, &good, ""), 1);
}
