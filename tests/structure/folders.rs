//! Import cycles inside the folders of `broker/`: per folder, the files and sub-folders form a graph without one.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;

/// A module as the names from the crate root: `["hub", "shard", "turn"]`.
type Module = Vec<String>;

/// Which child of a folder imports which other one, and where it does so first.
pub(crate) type Imports = BTreeMap<(String, String), String>;

/// The modules of the crate, and what the `mod.rs` of each folder re-exports of its children.
struct Modules {
    all: BTreeSet<Module>,
    re_exports: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl Modules {
    fn of(sources: &[Source]) -> Self {
        let all: BTreeSet<Module> = sources.iter().map(module_of).collect();
        let mut re_exports: BTreeMap<Module, BTreeMap<String, Module>> = BTreeMap::new();
        for source in sources {
            let module = module_of(source);
            for path in source.code().re_exports() {
                let target = absolute(&module, &path);
                if let (Some(target), Some(name)) = (target, path.last()) {
                    re_exports.entry(module.clone()).or_default().insert(name.clone(), target);
                }
            }
        }
        Self { all, re_exports }
    }

    /// The module that defines what a path names, through re-exports.
    fn definer(&self, path: &[String]) -> Module {
        let mut module = Module::new();
        let mut rest = path.to_vec();
        // A re-export leads to a path, which may lead to another one; a chain of ten is none that anybody wrote.
        for _ in 0..10 {
            while let Some(name) = rest.first() {
                let child: Module = module.iter().chain([name]).cloned().collect();
                if !self.all.contains(&child) {
                    break;
                }
                module = child;
                rest.remove(0);
            }
            let target = rest.first().and_then(|name| self.re_exports.get(&module)?.get(name));
            let Some(target) = target.filter(|target| target.as_slice() != path) else { break };
            (module, rest) = (Module::new(), target.clone());
        }
        module
    }
}

/// The imports within each folder, by the folder's path from `broker/`.
pub(crate) fn imports(sources: &[Source]) -> BTreeMap<String, Imports> {
    let modules = Modules::of(sources);
    let mut folders: BTreeMap<String, Imports> = BTreeMap::new();
    for source in sources {
        let from = module_of(source);
        for (line, path) in source.code().paths() {
            let Some(path) = absolute(&from, &path) else { continue };
            let to = modules.definer(&path);
            let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
            // The crate root has an order of its own; what a folder's `mod.rs` defines belongs to the whole folder.
            if shared == 0 || from.len() == shared || to.len() == shared {
                continue;
            }
            let edge = (from[shared].clone(), to[shared].clone());
            let place = format!("{}:{line}", source.path);
            folders.entry(from[..shared].join("/")).or_default().entry(edge).or_insert(place);
        }
    }
    folders
}

/// The imports that lie on a cycle through a sub-folder of the folder. Two files of one folder may use each other: they
/// are read together.
pub(crate) fn on_cycles<'a>(folder: &str, imports: &'a Imports, sources: &[Source]) -> Vec<&'a (String, String)> {
    let is_folder = |child: &str| {
        let inside = format!("broker/{folder}/{child}/");
        sources.iter().any(|source| source.path.starts_with(&inside))
    };
    let children: BTreeSet<&str> = imports.keys().map(|(from, _)| from.as_str()).collect();
    let mut found = BTreeSet::new();
    for child in children.into_iter().filter(|child| is_folder(child)) {
        let behind = reachable(child, imports, |(from, to)| (from, to));
        let before = reachable(child, imports, |(from, to)| (to, from));
        let is_on = |name: &str| behind.contains(name) && before.contains(name);
        found.extend(imports.keys().filter(|(from, to)| is_on(from) && is_on(to)));
    }
    found.into_iter().collect()
}

/// What can be reached from a child by at least one import, read in the direction that `ends` says.
fn reachable<'a>(
    child: &str,
    imports: &'a Imports,
    ends: impl Fn(&'a (String, String)) -> (&'a str, &'a str),
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next = vec![child];
    while let Some(child) = next.pop() {
        for (_, to) in imports.keys().map(&ends).filter(|(from, _)| *from == child) {
            if found.insert(to) {
                next.push(to);
            }
        }
    }
    found
}

/// `broker/hub/shard/turn.rs` is `hub::shard::turn`, `broker/hub/mod.rs` is `hub`, `broker/lib.rs` the crate root.
fn module_of(source: &Source) -> Module {
    let inside = source.path.strip_prefix("broker/").unwrap_or(&source.path);
    let inside = inside.trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    if matches!(inside, "lib" | "main") { Module::new() } else { inside.split('/').map(str::to_owned).collect() }
}

/// A path that begins with `crate`, `self` or `super`, from the crate root; none when it leads out of the crate.
fn absolute(module: &[String], path: &[String]) -> Option<Module> {
    let mut base: Module = module.to_vec();
    let mut rest = path.iter().peekable();
    match rest.peek().map(|name| name.as_str()) {
        Some("crate") => base.clear(),
        Some("self" | "super") => {}
        _ => return None,
    }
    while let Some(name) = rest.next_if(|name| matches!(name.as_str(), "crate" | "self" | "super")) {
        if name == "super" {
            base.pop()?;
        }
    }
    base.extend(rest.cloned());
    Some(base)
}

#[test]
fn a_cycle_is_found_through_re_exports_and_groups() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let mut sources = vec![
        source("broker/lib.rs", "mod hub;\npub use hub::Hub;"),
        source("broker/hub/mod.rs", "mod a; mod b; mod c;\npub(crate) use self::b::{One, two::Two};\nstruct Hub;"),
        source("broker/hub/a.rs", "use super::{Hub, One};"),
        source("broker/hub/b/mod.rs", "use crate::hub::c::Three;"),
        source("broker/hub/b/two.rs", "use super::super::c;"),
        source("broker/hub/c.rs", "use super::Hub;"),
        source("broker/hub/d.rs", "use super::e;"),
        source("broker/hub/e.rs", "use super::d;"),
    ];
    let edges = |sources: &[Source]| {
        let found = imports(sources);
        let all: Vec<String> = found["hub"].keys().map(|(from, to)| format!("{from} {to}")).collect();
        let cycles = on_cycles("hub", &found["hub"], sources);
        (all, cycles.into_iter().map(|(from, to)| format!("{from} {to}")).collect::<Vec<_>>())
    };
    let (all, cycles) = edges(&sources);
    assert_eq!(all, ["a b", "b c", "d e", "e d"]);
    assert!(cycles.is_empty(), "two files may use each other: {cycles:?}");
    sources[5].text.push_str("\nfn f() { crate::hub::Two::new() }");
    assert_eq!(edges(&sources).1, ["b c", "c b"]);
    sources[5].text = "fn f() { super::a::g() }".to_owned();
    assert_eq!(edges(&sources).1, ["a b", "b c", "c a"]);
    sources[5].text = "use crate::Hub;\n#[cfg(test)]\nmod tests { use super::super::a; }".to_owned();
    assert!(edges(&sources).1.is_empty());
}
