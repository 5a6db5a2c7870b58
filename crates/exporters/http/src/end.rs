//! A future that ends with a deadline, wherever that is pulled to.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hiq_core::export::{Deadline, WakeGuard};
use tokio::time::{Instant, Sleep, sleep_until};

/// Ready when `deadline` is over.
#[derive(Debug)]
pub(crate) struct End<'a> {
    deadline: &'a Deadline,
    watched: Option<(Waker, WakeGuard)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a> End<'a> {
    pub(crate) fn of(deadline: &'a Deadline) -> Self {
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
