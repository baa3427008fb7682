//! A trie of patterns by their tokens: finds those that match a topic without testing the others. It knows nothing of the
//! values that it stores.

use crate::collections::small_map::SmallMap;

/// A value for each of many patterns.
#[derive(Debug)]
pub(in crate::hub) struct Trie<T> {
    root: Node<T>,
    len: usize,
}

/// The patterns with a common prefix.
#[derive(Debug)]
struct Node<T> {
    /// The value of the pattern that ends here.
    here: Option<T>,
    /// The value of the pattern that continues with a final `>`.
    tail: Option<T>,
    /// The patterns that continue with `*`.
    star: Option<Box<Node<T>>>,
    /// The patterns that continue with a token. Clients choose the tokens, so the map's hash is keyed.
    tokens: SmallMap<Box<str>, Node<T>>,
}

impl<T> Trie<T> {
    /// The number of patterns.
    #[cfg(test)]
    pub(in crate::hub) fn len(&self) -> usize {
        self.len
    }

    /// The value of a pattern.
    pub(in crate::hub) fn get(&self, pattern: &str) -> Option<&T> {
        let mut node = &self.root;
        for token in pattern.split('.') {
            node = match token {
                ">" => return node.tail.as_ref(),
                "*" => node.star.as_deref()?,
                token => node.tokens.get(token)?,
            };
        }
        node.here.as_ref()
    }

    /// The value of a pattern, to be changed.
    pub(in crate::hub) fn get_mut(&mut self, pattern: &str) -> Option<&mut T> {
        let mut node = &mut self.root;
        for token in pattern.split('.') {
            node = match token {
                ">" => return node.tail.as_mut(),
                "*" => node.star.as_deref_mut()?,
                token => node.tokens.get_mut(token)?,
            };
        }
        node.here.as_mut()
    }

    /// Adds a pattern, which must not be there yet.
    pub(in crate::hub) fn add(&mut self, pattern: &str, value: T) {
        let mut node = &mut self.root;
        let mut tokens = pattern.split('.');
        let place = loop {
            node = match tokens.next() {
                None => break &mut node.here,
                Some(">") => break &mut node.tail,
                Some("*") => node.star.get_or_insert_default(),
                Some(token) => node.token(token),
            };
        };
        debug_assert!(place.is_none(), "a pattern is added once");
        *place = Some(value);
        self.len += 1;
    }

    /// Removes a pattern, and the nodes that only it needed.
    pub(in crate::hub) fn remove(&mut self, pattern: &str) -> Option<T> {
        let removed = self.root.remove(Some(pattern));
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Visits the value of each pattern that selects a topic, each once. The cost depends on the topic's tokens and on the
    /// patterns that share a prefix with it.
    pub(in crate::hub) fn select<'t>(&'t self, topic: &str, visit: &mut impl FnMut(&'t T)) {
        // A wildcard as the first token never selects the broker's own topics.
        self.root.select(Some(topic), !topic.starts_with('$'), visit);
    }
}

impl<T> Node<T> {
    fn token(&mut self, token: &str) -> &mut Self {
        if self.tokens.get(token).is_none() {
            self.tokens.add(token.into(), Self::default());
        }
        self.tokens.get_mut(token).expect("it was added if it was not there")
    }

    fn select<'t>(&'t self, rest: Option<&str>, wildcards: bool, visit: &mut impl FnMut(&'t T)) {
        let Some(rest) = rest else { return self.here.iter().for_each(visit) };
        let (token, rest) = first_token(rest);
        if wildcards {
            self.tail.iter().for_each(&mut *visit);
            self.star.iter().for_each(|node| node.select(rest, true, visit));
        }
        if let Some(node) = self.tokens.get(token) {
            node.select(rest, true, visit);
        }
    }

    fn remove(&mut self, rest: Option<&str>) -> Option<T> {
        let Some(rest) = rest else { return self.here.take() };
        match first_token(rest) {
            (">", _) => self.tail.take(),
            ("*", rest) => {
                let removed = self.star.as_mut()?.remove(rest);
                self.star.take_if(|node| node.is_empty());
                removed
            }
            (token, rest) => {
                let node = self.tokens.get_mut(token)?;
                let removed = node.remove(rest);
                if node.is_empty() {
                    self.tokens.remove(token);
                }
                removed
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.here.is_none() && self.tail.is_none() && self.star.is_none() && self.tokens.len() == 0
    }
}

fn first_token(rest: &str) -> (&str, Option<&str>) {
    rest.split_once('.').map_or((rest, None), |(token, rest)| (token, Some(rest)))
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { here: None, tail: None, star: None, tokens: SmallMap::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::topic::{Pattern, Topic};

    fn selected(trie: &Trie<String>, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        trie.select(topic, &mut |text| found.push(text.clone()));
        found.sort();
        found
    }

    #[test]
    fn wildcards_as_the_first_token_do_not_select_the_brokers_own_topics() {
        let mut trie = Trie::default();
        for pattern in [">", "*", "*.a", "*.>", "$sys.>", "$sys.*"] {
            trie.add(pattern, pattern.to_owned());
        }
        assert_eq!(selected(&trie, "$sys.a"), ["$sys.*", "$sys.>"]);
        assert_eq!(selected(&trie, "$sys"), Vec::<String>::new());
        assert_eq!(selected(&trie, "b.a"), ["*.>", "*.a", ">"]);
    }

    #[test]
    fn removing_all_patterns_removes_all_nodes() {
        let patterns: Vec<String> = (0..10_000).map(|n| format!("a{}.*.b{n}.>", n % 100)).collect();
        let mut trie = Trie::default();
        patterns.iter().for_each(|pattern| trie.add(pattern, pattern.clone()));
        assert_eq!(trie.len(), 10_000);
        assert_eq!(selected(&trie, "a17.x.b117.y.z"), ["a17.*.b117.>"]);
        for pattern in &patterns {
            assert_eq!(trie.remove(pattern).as_ref(), Some(pattern));
            assert_eq!(trie.remove(pattern), None);
        }
        assert!(trie.root.is_empty() && trie.len() == 0);
    }

    proptest! {
        #[test]
        fn it_selects_what_the_patterns_match(
            steps in prop::collection::vec((any::<bool>(), "((\\$[ab]|[abé*])\\.){0,4}[ab*>]"), 1..60),
            topics in prop::collection::vec("\\$?([abé]\\.){0,5}[ab]", 1..20),
        ) {
            let mut trie = Trie::default();
            let mut model = BTreeSet::new();
            for (add, text) in steps {
                if !add {
                    prop_assert_eq!(trie.remove(&text).is_some(), model.remove(&text));
                } else if model.insert(text.clone()) {
                    trie.add(&text, text.clone());
                }
                prop_assert_eq!(trie.get(&text).is_some(), model.contains(&text));
                prop_assert_eq!(trie.get_mut(&text).is_some(), model.contains(&text));
            }
            prop_assert_eq!(trie.len(), model.len());
            for topic in &topics {
                let topic = Topic::parse_any(topic).expect("a topic");
                let matches = |text: &&String| Pattern::parse_any(text).expect("a pattern").matches(&topic);
                let expected: Vec<String> = model.iter().filter(matches).cloned().collect();
                prop_assert_eq!(selected(&trie, topic.as_str()), expected);
            }
            model.iter().for_each(|text| assert!(trie.remove(text).is_some()));
            prop_assert!(trie.root.is_empty());
        }
    }
}
