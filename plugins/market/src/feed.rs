//! A price as a feed sends it.

use crate::price::{Price, Unpriced};
use crate::refusal::Refusal;
use rialto_plugin::prelude::*;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// What a feed says: a number, or `price` of a map whose other fields count for nothing.
#[derive(Debug, PartialEq)]
pub(crate) struct Fed(f64);

impl Fed {
    /// The price, unless it cannot be one.
    pub(crate) fn price(&self) -> Result<Price> {
        let Self(number) = self;
        Price::read(*number).map_err(|problem| match problem {
            Unpriced::NotANumber => Refusal::NotANumber.because("the price is not a finite number"),
            Unpriced::Negative => Refusal::Negative.because(format!("the price {number} is below 0")),
            Unpriced::Zero => Refusal::Zero.because(format!("the price {number} is nothing: the least is 0.01")),
            Unpriced::TooLarge => {
                let limit = Price::MAX.shown();
                Refusal::TooLarge { limit }.because(format!("the price {number} is too large: the limit is {limit}"))
            }
            Unpriced::TooFine => {
                let reason = format!("the price {number} has more than 2 decimals");
                Refusal::TooFine { decimals: 2 }.because(reason)
            }
        })
    }
}

impl<'de> Deserialize<'de> for Fed {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(FedVisitor)
    }
}

struct FedVisitor;

impl<'de> Visitor<'de> for FedVisitor {
    type Value = Fed;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a number, or a map with a number `price`")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Fed, E> {
        Ok(Fed(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Fed, E> {
        // Beyond 2^53 this rounds, far above the largest price.
        Ok(Fed(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Fed, E> {
        Ok(Fed(number as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Fed, A::Error> {
        #[derive(Deserialize)]
        struct Fields {
            price: f64,
        }
        Fields::deserialize(MapAccessDeserializer::new(fields)).map(|fields| Fed(fields.price))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feeds_send_numbers_or_maps_in_either_codec() {
        let json = |text: &str| Payload { encoding: rialto_plugin::Encoding::Json, content: text.into() }.decode();
        for text in ["12.5", r#"{"price":12.5}"#, r#"{"price":12.5,"volume":3,"from":"the quay"}"#, "1.25e1"] {
            assert_eq!(json(text), Ok(Fed(12.5)), "{text}");
        }
        assert_eq!(json("-3"), Ok(Fed(-3.0)));
        for text in ["\"12.5\"", "null", "[12.5]", "{}", r#"{"price":"12.5"}"#, r#"{"price":null}"#] {
            assert!(json(text).is_err(), "{text}");
        }
        let msgpack = Payload::msgpack(&f64::NAN).expect("a number").decode::<Fed>().expect("a number");
        assert!(msgpack.price().expect_err("no price").to_string().contains("not a finite number"));
    }
}
