//! Words that are no tokens, and tokens that are of no use.

use serde::Serialize;
use weft_protocol::{Timestamp, Token, TokenError, encode, hash};

use super::case::{Answer, Case, Way};
use super::scene::{GOOD, Scene};

/// A word with a good checksum around any content.
fn word(content: &[u8]) -> String {
    let sum = hash("token-checksum", &[content]);
    format!("weft1{}", bs58::encode([content, &sum.as_bytes()[..4]].concat()).into_string())
}

fn word_of<T: Serialize>(content: &T) -> String {
    word(&encode(content))
}

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let token = Token { addresses: vec!["/ip4/127.0.0.1/tcp/1".into()], ..scene.token(GOOD) };
    let good = token.to_string();
    let mut swapped = good.clone().into_bytes();
    let place = (5..swapped.len() - 1).find(|place| swapped[*place] != swapped[place + 1]).unwrap();
    swapped.swap(place, place + 1);
    let swapped = String::from_utf8(swapped).unwrap();
    let mut mistyped = good.clone();
    mistyped.replace_range(20..21, "0");
    let mut umlaut = good.clone();
    umlaut.replace_range(20..21, "ü");
    let trailing = [encode(&token), vec![0]].concat();
    let many = Token { addresses: vec!["/ip4/127.0.0.1/tcp/1".into(); 17], ..token.clone() };
    let long = Token { addresses: vec![format!("/dns/{}", "x".repeat(300))], ..token.clone() };
    let late = Token { expires: Timestamp(scene.now.0 - 1), ..token.clone() };
    let no_token = |name, word, error| Case { name, way: Way::Word(word), expected: Answer::NoToken(error) };
    vec![
        no_token("an empty word", String::new(), TokenError::Prefix),
        no_token("a token of another version", good.replacen("weft1", "weft2", 1), TokenError::Prefix),
        no_token("a word of a megabyte", format!("weft1{}", "z".repeat(1 << 20)), TokenError::TooLong),
        no_token("a letter that no token has", mistyped, TokenError::Character { place: 21 }),
        no_token("a letter that is no letter", umlaut, TokenError::Character { place: 21 }),
        no_token("the beginning of a token alone", "weft1".into(), TokenError::Cut),
        no_token("a token cut by one letter", good[..good.len() - 1].into(), TokenError::Checksum),
        no_token("two letters of a token swapped", swapped, TokenError::Checksum),
        no_token("another content under a good checksum", word(b"hello"), TokenError::Content),
        no_token("a byte after the content", word(&trailing), TokenError::Content),
        no_token("a content that lacks the secret", word_of(&scene.now), TokenError::Content),
        no_token("a token with seventeen addresses", many.to_string(), TokenError::Addresses { count: 17 }),
        no_token("a token with an address of 305 bytes", long.to_string(), TokenError::Address),
        Case {
            name: "a token that expired",
            way: Way::Word(late.to_string()),
            expected: Answer::Command("token-expired"),
        },
    ]
}
