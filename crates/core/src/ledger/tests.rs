use super::*;

fn assert_balances(ledger: &Ledger) -> LedgerSnapshot {
    let snapshot = ledger.snapshot();
    assert!(snapshot.balances(), "{snapshot:?}");
    snapshot
}

fn in_flight(ledger: &Arc<Ledger>, items: usize) -> Custody {
    ledger.offer(items);
    ledger.take(items, Instant::now())
}

#[test]
fn items_are_in_exactly_one_term_all_the_way() {
    let ledger = Ledger::new();
    ledger.offer(100);
    assert_eq!(assert_balances(&ledger).queued, 100);
    ledger.drop_queued(10, DropReason::QueueFull);
    let mut custody = ledger.take(90, Instant::now());
    assert_eq!(assert_balances(&ledger).in_flight, 90);
    custody.split_off(20).delivered();
    custody.split_off(5).rejected();
    custody.split_off(3).sent_unconfirmed();
    custody.split_off(2).dropped(DropReason::TooLarge);
    assert_eq!(assert_balances(&ledger).in_flight, 60);
    custody.spooled();
    assert_eq!(assert_balances(&ledger).spooled, 60);
    custody.delivered();
    ledger.refuse(7, DropReason::Shutdown);
    let end = assert_balances(&ledger);
    assert_eq!((end.offered, end.exported, end.rejected), (107, 80, 5));
    assert_eq!((end.sent_unconfirmed, end.dropped.total()), (3, 19));
    assert_eq!(end.unsettled(), 0);
}

#[test]
fn custody_that_is_forgotten_counts_itself() {
    let ledger = Ledger::new();
    drop(in_flight(&ledger, 8));
    let holder = in_flight(&ledger, 4);
    let panicked = std::thread::spawn(move || {
        let _held = holder;
        panic!("an exporter with a defect");
    });
    assert!(panicked.join().is_err());
    let end = assert_balances(&ledger);
    assert_eq!(end.dropped[DropReason::ExporterFailed], 12);
}

#[test]
fn what_is_spooled_when_its_holder_ends_stays_on_disk() {
    let ledger = Ledger::new();
    let mut custody = in_flight(&ledger, 5);
    custody.spooled();
    drop(custody);
    drop(ledger.recover(3, Instant::now()));
    let end = assert_balances(&ledger);
    assert_eq!((end.spooled, end.recovered, end.dropped.total()), (8, 3, 0));
}

#[test]
fn no_more_is_split_off_than_there_is() {
    let ledger = Ledger::new();
    let mut custody = in_flight(&ledger, 5);
    assert_eq!(custody.split_off(9).items(), 5);
    assert_eq!(custody.items(), 0);
    custody.delivered();
    assert_eq!(assert_balances(&ledger).exported, 0);
}

#[test]
fn after_the_close_late_news_changes_nothing_but_what_is_on_disk() {
    let ledger = Ledger::new();
    let late = in_flight(&ledger, 5);
    let mut on_disk = in_flight(&ledger, 7);
    on_disk.spooled();
    ledger.offer(2);
    ledger.close();
    let closed = assert_balances(&ledger);
    assert_eq!(
        (closed.dropped[DropReason::Shutdown], closed.spooled),
        (7, 7)
    );
    late.delivered();
    assert_eq!(assert_balances(&ledger), closed);
    on_disk.delivered();
    assert_eq!(assert_balances(&ledger).exported, 7);
}

#[test]
fn it_balances_at_every_snapshot_while_threads_move_items() {
    let ledger = Ledger::new();
    let movers: Vec<_> = (1..=3)
        .map(|items| {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || {
                for round in 0..3_000 {
                    let mut custody = in_flight(&ledger, items * 3);
                    let other = custody.split_off(items);
                    match round % 3 {
                        0 => custody.delivered(),
                        1 => custody.rejected(),
                        _ => custody.spooled(),
                    }
                    other.dropped(DropReason::ALL[round % DropReason::ALL.len()]);
                }
            })
        })
        .collect();
    while movers.iter().any(|mover| !mover.is_finished()) {
        assert_balances(&ledger);
    }
    for mover in movers {
        mover.join().unwrap();
    }
    assert_eq!(assert_balances(&ledger).offered, 3_000 * (3 + 6 + 9));
}

#[test]
fn every_reason_has_a_counter_of_its_own() {
    let ledger = Ledger::new();
    for (place, reason) in DropReason::ALL.into_iter().enumerate() {
        ledger.refuse(place + 1, reason);
    }
    let dropped = assert_balances(&ledger).dropped;
    for (place, reason) in DropReason::ALL.into_iter().enumerate() {
        assert_eq!(dropped[reason], place as u64 + 1, "{}", reason.name());
    }
    assert_eq!(
        dropped.iter().map(|(_, items)| items).sum::<u64>(),
        dropped.total()
    );
}

#[test]
fn a_row_stands_under_its_header() {
    let ledger = Ledger::new();
    ledger.offer(1_234_567);
    ledger.drop_queued(4, DropReason::QueueFull);
    in_flight(&ledger, 3).delivered();
    let row = ledger.snapshot().to_string();
    let header = LedgerSnapshot::HEADER;
    assert_eq!(
        format!("{header}\n{row}"),
        "   offered  exported  rejected   dropped    queued in flight   spooled\n   \
         1234570         3         0         4   1234563         0         0   queue_full 4"
    );
}
