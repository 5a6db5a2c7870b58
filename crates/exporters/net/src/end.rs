//! A future that ends with a deadline, wherever that is pulled to.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hiq_core::export::{Deadline, WakeGuard};
use tokio::time::{Instant, Sleep, sleep_until};

/// Ready when `deadline` is over.
#[derive(Debug)]
pub struct End<'a> {
    deadline: &'a Deadline,
    watched: Option<(Waker, WakeGuard)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a> End<'a> {
    /// Of this handle, wherever it is pulled to meanwhile.
    pub fn of(deadline: &'a Deadline) -> Self {
        Self {
            deadline,
            watched: None,
            timer: None,
        }
    }

    fn watch(&mut self, waker: &Waker) {
        let watches = |(known, _): &(Waker, WakeGuard)| known.will_wake(waker);
        if !self.watched.as_ref().is_some_and(watches) {
            self.watched = Some((waker.clone(), self.deadline.wake_when_pulled(waker)));
        }
    }
}

impl Future for End<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Watched before it is read: a pull in between wakes us again.
        self.watch(context.waker());
        let Some(at) = self.deadline.at().map(Instant::from_std) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(context)
    }
}

/// What `work` gives, or `None` when `end` comes first.
pub async fn before<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    let mut end = pin!(end);
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        end.as_mut().poll(context).map(|()| None)
    })
    .await
}
