//! Owns the addresses of its arguments (scratch).
fn main() {
    let l = l2::Layer2::start(l2::Options::default(), |e| println!("{e:?}")).unwrap();
    println!("{:?}", l.links());
    l.publish(
        std::env::args().skip(1).map(|a| (a.parse().unwrap(), l2::Scope::AllInterfaces)).collect(),
    );
    loop {
        std::thread::sleep(std::time::Duration::from_secs(2));
        println!("{:?} {:?}", l.counters().first(), l.statistics());
    }
}
