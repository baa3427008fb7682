//! The book as mdBook makes it: every chapter is a page, and every link of a page leads somewhere.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mdbook_driver::MDBook;

/// The pages of a built book: path from its folder, and text.
fn pages(built: &Path) -> BTreeMap<String, String> {
    let (mut pages, mut folders) = (BTreeMap::new(), vec![built.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "html") {
                let name = path.strip_prefix(built).unwrap().to_str().unwrap().to_owned();
                pages.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    pages
}

/// The values of an attribute in a page.
fn values<'a>(page: &'a str, attribute: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {attribute}=\"");
    let parts: Vec<&str> = page.split(start.as_str()).skip(1).collect();
    parts.into_iter().filter_map(|part| part.split('"').next())
}

/// Where a link of a page leads, from the folder of the book: a path and a fragment; none if it leads elsewhere.
fn target(page: &str, link: &str) -> Option<(String, String)> {
    if link.contains(':') || link.starts_with("//") {
        return None;
    }
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    if path.is_empty() {
        return Some((page.to_owned(), fragment.to_owned()));
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some((parts.join("/"), fragment.to_owned()))
}

#[test]
fn is_built_and_every_link_leads_somewhere() {
    let book = MDBook::load(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../broker/book")).unwrap();
    book.build().unwrap();
    let built = book.build_dir_for("html");
    let pages = pages(&built);
    let ids: BTreeMap<&str, BTreeSet<&str>> =
        pages.iter().map(|(name, page)| (&**name, values(page, "id").collect())).collect();
    let mut problems = Vec::new();
    let chapters = book.iter().filter_map(|item| match item {
        mdbook_driver::book::BookItem::Chapter(chapter) => chapter.path.clone(),
        _ => None,
    });
    let mut count = 0;
    for chapter in chapters {
        count += 1;
        let page = chapter.with_extension("html").to_str().unwrap().to_owned();
        if !pages.contains_key(&page) {
            problems.push(format!("{} has no page", chapter.display()));
        }
    }
    assert!(count > 20, "{count} chapters");
    for (name, page) in &pages {
        // It is not in a folder: its links are relative to wherever it is shown.
        for link in values(page, "href").chain(values(page, "src")).filter(|_| name != "404.html") {
            let Some((path, fragment)) = target(name, link) else { continue };
            let is_there = match ids.get(&*path) {
                Some(ids) => fragment.is_empty() || ids.contains(&*fragment),
                None => built.join(&path).is_file(),
            };
            if !is_there {
                problems.push(format!("{name}: nothing at {link}"));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn links_are_followed_from_their_page() {
    for (link, expected) in [
        ("https://example.org/", None),
        ("#x", Some(("a/b.html", "x"))),
        ("c.html", Some(("a/c.html", ""))),
        ("../c.html#x", Some(("c.html", "x"))),
    ] {
        let found = target("a/b.html", link);
        assert_eq!(found, expected.map(|(path, fragment)| (path.to_owned(), fragment.to_owned())), "{link}");
    }
}
