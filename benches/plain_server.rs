//! The server that the benchmarks compare tfweb with: its actix-web handlers parse the same JSON with serde_json and answer. They
//! do nothing else.
//!
//! `POST /` takes `{"x": [number, …]}` and answers `{"y": [x / 2 + 2, …]}`; `POST /pixels` takes `{"x": nested lists}` and
//! answers the first three numbers. Listens on the port given.

use std::fmt;

use actix_web::{web, App, HttpResponse, HttpServer};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    x: Vec<f32>,
}

#[derive(Serialize)]
struct Response {
    y: Vec<f32>,
}

async fn half_plus_two(body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice::<Request>(&body) {
        Ok(request) => HttpResponse::Ok().json(Response { y: request.x.iter().map(|x| x / 2.0 + 2.0).collect() }),
        Err(error) => HttpResponse::BadRequest().body(error.to_string()),
    }
}

#[derive(Serialize)]
struct Corner<'a> {
    corner: [&'a [f32]; 1],
}

async fn pixels(body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice::<Pixels>(&body) {
        Ok(request) => HttpResponse::Ok().json(Corner { corner: [&request.x.0[..3]] }),
        Err(error) => HttpResponse::BadRequest().body(error.to_string()),
    }
}

#[derive(Deserialize)]
struct Pixels {
    x: Flat,
}

/// Numbers of lists nested four deep, in one vector.
struct Flat(Vec<f32>);

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let mut numbers = Vec::new();
        Lists::<4>(&mut numbers).deserialize(json)?;
        Ok(Self(numbers))
    }
}

struct Lists<'a, const DEPTH: usize>(&'a mut Vec<f32>);

macro_rules! lists {
    ($depth:literal, |$list:ident, $numbers:ident| $read:expr) => {
        impl<'de> DeserializeSeed<'de> for Lists<'_, $depth> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
                json.deserialize_seq(self)
            }
        }

        impl<'de> Visitor<'de> for Lists<'_, $depth> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut $list: A) -> Result<(), A::Error> {
                let $numbers = self.0;
                $read;
                Ok(())
            }
        }
    };
}

lists!(4, |list, numbers| while list.next_element_seed(Lists::<3>(numbers))?.is_some() {});
lists!(3, |list, numbers| while list.next_element_seed(Lists::<2>(numbers))?.is_some() {});
lists!(2, |list, numbers| while list.next_element_seed(Lists::<1>(numbers))?.is_some() {});
lists!(1, |list, numbers| while let Some(number) = list.next_element()? {
    numbers.push(number);
});

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8081);
    let app = || {
        App::new()
            .app_data(web::PayloadConfig::new(10 << 20))
            .route("/", web::post().to(half_plus_two))
            .route("/pixels", web::post().to(pixels))
    };
    HttpServer::new(app).bind(("127.0.0.1", port))?.run().await
}
