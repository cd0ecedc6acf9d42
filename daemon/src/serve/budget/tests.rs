// SPDX-License-Identifier: Apache-2.0
//! Who makes room for whom when the budget is spent, and what is refused.

use super::*;

const PATIENCE: Duration = Duration::from_secs(8);

/// A body that sends this and then says no more.
struct Stuck(Option<Vec<u8>>);

impl HttpBody for Stuck {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(octets) => Poll::Ready(Some(Ok(Frame::data(octets.into())))),
            None => Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_makes_room_for_who_is_not() {
    let budget = Budget::new(4 * SMALL, 1 << 20);
    let connections: Vec<Connection> = (0..4).map(|_| Connection::alone()).collect();
    let mut stuck = Vec::new();
    for connection in &connections {
        let (budget, connection) = (budget.clone(), connection.clone());
        let body = Body::new(Stuck(Some(vec![0; SMALL + (256 << 10)])));
        stuck.push(tokio::spawn(async move {
            budget.read(&connection, body, 1 << 20, PATIENCE).await.map(drop)
        }));
        tokio::task::yield_now().await;
    }
    assert_eq!(budget.held(), 4 * SMALL + (1 << 20), "all of it is taken");
    let one = Connection::alone();
    let body = Body::from(vec![0; 512 << 10]);
    let (read, share) = budget.read(&one, body, 1 << 20, PATIENCE).await.unwrap();
    assert_eq!(read.len(), 512 << 10);
    let closed = connections.iter().filter(|connection| connection.is_closed()).count();
    assert_eq!(closed, 2, "no more than have to");
    drop(share);
    for stuck in stuck {
        assert_eq!(stuck.await.unwrap(), Err(Refused::Slow), "each has its end");
    }
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn large_bodies_keep_no_small_one_out_and_who_is_at_work_is_waited_for() {
    let budget = Budget::new(4 * SMALL, 1 << 20);
    let connection = Connection::alone();
    let large = Body::from(vec![0; SMALL + (1 << 20)]);
    let held = budget.read(&connection, large, 2 << 20, PATIENCE).await.unwrap().1;
    tokio::time::advance(WINDOW * 8).await;
    let small = budget.read(&connection, Body::from("x"), 2 << 20, PATIENCE).await.unwrap();
    assert_eq!(small.0, b"x");
    let waits = budget.read(&connection, Body::from(vec![0; 2 * SMALL]), 2 << 20, PATIENCE);
    let frees = async {
        tokio::time::sleep(WINDOW * 4).await;
        drop(held);
    };
    let (read, ()) = tokio::join!(waits, frees);
    assert_eq!(read.unwrap().0.len(), 2 * SMALL);
    assert!(!connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn too_long_is_said_before_it_is_read_and_a_share_lasts_until_the_answer_has_left() {
    let budget = Budget::new(4 * SMALL, 1 << 20);
    let connection = Connection::alone();
    let long = budget.read(&connection, Body::from(vec![0; 101]), 100, PATIENCE).await;
    assert_eq!(long.map(drop), Err(Refused::Long));
    let (_, share) = budget.read(&connection, Body::from("abc"), 100, PATIENCE).await.unwrap();
    let mut answer = share.answer(vec![b"one".to_vec(), b"two".to_vec()]);
    assert_eq!((budget.held(), answer.size_hint().exact()), (3, Some(6)));
    for _ in 0..2 {
        let frame = poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await;
        assert!(frame.unwrap().unwrap().is_data());
    }
    assert!(answer.is_end_stream());
    drop(answer);
    assert_eq!(budget.held(), 0);
}
