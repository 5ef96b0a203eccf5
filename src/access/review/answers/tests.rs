use super::*;

fn key(n: usize) -> Key {
    let mut key = Key::default();
    key[..8].copy_from_slice(&n.to_be_bytes());
    key
}

#[test]
fn ten_thousand_answers_are_kept_and_the_oldest_go_first() {
    let (mut answers, now) = (Answers::default(), Instant::now());
    for n in 0..MOST + 3 {
        let share = answers.share(&format!("user {}", n % 5));
        answers.remember(key(n), &share, true, now, now);
    }
    assert_eq!(answers.sizes(), (MOST, MOST, 0));
    assert_eq!(answers.known(&key(2), now), None);
    assert_eq!(answers.known(&key(3), now), Some(true));
}

#[test]
fn one_users_answers_take_a_quarter_of_the_places_until_they_are_old() {
    let (mut answers, now) = (Answers::default(), Instant::now());
    let alice = answers.share("alice");
    answers.remember(key(0), &alice, true, now, now);
    for n in 1..MOST * 2 {
        // Held by nothing but its answers in between.
        let mallory = answers.share("mallory");
        answers.remember(key(n), &mallory, true, now, now);
    }
    assert_eq!(answers.sizes(), (1 + MOST_OF_ONE, 1 + MOST_OF_ONE, 0));
    assert_eq!(answers.known(&key(0), now), Some(true));
    let later = now + MAX_AGE;
    let mallory = answers.share("mallory");
    answers.remember(key(1), &mallory, false, later, later);
    assert_eq!(answers.known(&key(1), later), Some(false));
    assert_eq!(answers.sizes(), (1, 1, 0));
}

#[test]
fn users_of_whom_nothing_is_kept_are_forgotten() {
    let (mut answers, now) = (Answers::default(), Instant::now());
    for n in 0..100 {
        answers.share(&format!("user {n}"));
    }
    let alice = answers.share("alice");
    answers.remember(key(0), &alice, true, now, now);
    drop(alice);
    answers.share("bob");
    assert_eq!(answers.users(), 2);
}

#[test]
fn old_answers_go_when_new_ones_come_and_take_no_newer_one_with_them() {
    let (mut answers, start) = (Answers::default(), Instant::now());
    let (second, alice) = (Duration::from_secs(1), answers.share("alice"));
    answers.remember(key(0), &alice, true, start, start);
    answers.remember(key(1), &alice, true, start + second, start + second);
    // Asked again while the first answer has yet to be thrown away.
    let later = start + 10 * second;
    answers.remember(key(1), &alice, false, later, later);
    assert_eq!(answers.sizes(), (1, 2, 0));
    let latest = start + 12 * second;
    answers.remember(key(2), &alice, true, latest, latest);
    assert_eq!(answers.known(&key(1), latest), Some(false));
    assert_eq!(answers.sizes(), (2, 2, 0));
}

#[test]
fn the_end_of_an_abandoned_question_does_not_end_the_one_that_came_after_it() {
    let mut answers = Answers::default();
    let mut tickets = Vec::new();
    let mut begin = |answers: &mut Answers| {
        answers.begin(key(0), |ticket| {
            tickets.push(ticket);
            std::future::pending()
        })
    };
    drop(begin(&mut answers));
    assert!(answers.under_way(&key(0)).is_none());
    let _again = begin(&mut answers);
    answers.end(&key(0), tickets[0]);
    assert!(answers.under_way(&key(0)).is_some());
    answers.end(&key(0), tickets[1]);
    assert!(answers.under_way(&key(0)).is_none());
}
