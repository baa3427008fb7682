//! What finding the rule of a topic costs: parsing a name, matching a pattern, and trying rules in order.
//! `cargo bench --bench topic`. Compare ratios within one run.

#![allow(missing_docs, reason = "a bench is a program, not a library")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rialto::config::{Rules, TopicRule};
use rialto::topic::{Pattern, Topic};

const NAME: &str = "market.nasdaq.acme.trades";

criterion_group!(topic, parse, matching, rules);
criterion_main!(topic);

fn parse(criterion: &mut Criterion) {
    criterion.bench_function("parse_topic", |bencher| bencher.iter(|| Topic::parse(black_box(NAME)).is_ok()));
}

fn matching(criterion: &mut Criterion) {
    let topic = Topic::parse(NAME).expect("a topic");
    let mut group = criterion.benchmark_group("match");
    for pattern in [NAME, "market.*.acme.*", "market.>", "market.nasdaq.other.*"] {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        group.bench_with_input(BenchmarkId::from_parameter(&pattern), &pattern, |bencher, pattern| {
            bencher.iter(|| black_box(pattern).matches(black_box(&topic)));
        });
    }
}

fn rules(criterion: &mut Criterion) {
    let topic = Topic::parse(NAME).expect("a topic");
    let mut group = criterion.benchmark_group("rule_found_last_of");
    for count in [1, 10, 1_000] {
        let other = |index: usize| format!("market.*.symbol{index}.*");
        let patterns = (1..count).map(other).chain(["market.>".to_owned()]);
        let rule = |pattern: String| TopicRule {
            pattern: Pattern::parse(&pattern).expect("a pattern"),
            ..TopicRule::default()
        };
        let rules = Rules::new(&patterns.map(rule).collect::<Vec<_>>());
        group.bench_with_input(BenchmarkId::from_parameter(count), &rules, |bencher, rules| {
            bencher.iter(|| black_box(rules).options(black_box(&topic)).is_some());
        });
    }
}
