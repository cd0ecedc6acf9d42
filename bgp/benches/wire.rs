// SPDX-License-Identifier: Apache-2.0
//! Encoding and decoding UPDATEs, in MB/s, beside a copy of the same octets in memory.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use bgp::Family;
use bgp::wire::{AsPath, Attribute, Context, LONGEST, Origin, Prefixes, Update, next_message};
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ipnet::IpNet;

const CONTEXT: Context =
    Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false };

/// A full message of /32 with communities.
fn update() -> Update {
    let prefix = |n: u32| IpNet::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 32).unwrap();
    Update {
        withdrawn: Prefixes::none(Family::Ipv4),
        attributes: vec![
            Attribute::Origin(Origin::Igp),
            Attribute::AsPath(AsPath::sequence(64500, 1)),
            Attribute::NextHop(Ipv4Addr::new(192, 0, 2, 1)),
            Attribute::Communities((0..8).collect()),
        ],
        announced: Prefixes::new(Family::Ipv4, (0..800).map(prefix)),
    }
}

fn wire(criterion: &mut Criterion) {
    let update = update();
    let prefixes: Vec<IpNet> = update.announced.iter().collect();
    let mut octets = Vec::new();
    update.encode(CONTEXT, LONGEST, &mut octets).unwrap();
    let mut group = criterion.benchmark_group("update");
    group.throughput(Throughput::Bytes(octets.len() as u64));
    let mut target = Vec::with_capacity(LONGEST);
    group.bench_function("memory copy", |bencher| {
        bencher.iter(|| {
            target.clear();
            target.extend_from_slice(black_box(&octets));
            black_box(&target);
        });
    });
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            target.clear();
            let announced = Prefixes::new(Family::Ipv4, black_box(&prefixes).iter().copied());
            let update = Update { announced, ..update.clone() };
            update.encode(CONTEXT, LONGEST, &mut target).unwrap();
            black_box(&target);
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let mut buffer = BytesMut::from(black_box(&octets[..]));
            let (_, body) = next_message(&mut buffer, false).unwrap().unwrap();
            black_box(Update::decode(body, CONTEXT).unwrap())
        });
    });
    group.bench_function("decode and walk all prefixes", |bencher| {
        bencher.iter(|| {
            let mut buffer = BytesMut::from(black_box(&octets[..]));
            let (_, body) = next_message(&mut buffer, false).unwrap().unwrap();
            black_box(Update::decode(body, CONTEXT).unwrap().update.announced.iter().count())
        });
    });
    group.finish();
}

criterion_group!(benches, wire);
criterion_main!(benches);
