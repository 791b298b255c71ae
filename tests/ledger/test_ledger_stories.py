from __future__ import annotations

import pytest

from farebox.core.money import MAX_NANO
from farebox.ledger.books import Settled
from farebox.ledger.moves import Booked, Clash, TakenBack
from farebox.ledger.rules import TransferKind, sides, split_charge
from tests.ledger.ledger_file import LedgerFile, settlement
from tests.ledger.story import Teller
from tests.support.stores import Store


@pytest.fixture
def ledger(store: Store) -> LedgerFile:
    return LedgerFile(store.database)


STORIES = {
    "a hold larger than what is free is refused": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        hold a c2 50      | refused, 40 free   |   40   60     0
        settle c1 45      | charged 45         |   55    0    45
        hold a c2 50      | held               |    5   50    45
        settle c2 50      | charged 50         |    5    0    95""",
    "what is free is what can be held, to the last nano-unit": """
        step              | answer             | free held spent
        grant a 100       | ok                 |  100    0     0
        hold a c1 101     | refused, 100 free  |  100    0     0
        hold a c1 100     | held               |    0  100     0
        hold a c2 1       | refused, 0 free    |    0  100     0
        hold a c3 0       | held               |    0  100     0
        void c3           | charged 0          |    0  100     0
        settle c1 100     | charged 100        |    0    0   100""",
    "a void frees the whole hold": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        void c1           | charged 0          |  100    0     0
        void c1           | charged 0          |  100    0     0
        settle c1 30      | charged 0          |  100    0     0""",
    "a settlement is posted once however often it is repeated": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        settle c1 45      | charged 45         |   55    0    45
        settle c1 45      | charged 45         |   55    0    45
        settle c1 45      | charged 45         |   55    0    45
        & settle c1 45    | charged 45         |   55    0    45""",
    "the same settlement twice in one batch is posted once": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        settle c1 45      | charged 45         |   55    0    45
        & settle c1 45    | charged 45         |   55    0    45""",
    "a hold that is repeated stands once, even where there is not enough for two": """
        step              | answer             | free held spent
        top_up a 130      | ok                 |  130    0     0
        hold a c1 60      | held               |   70   60     0
        hold a c1 60      | held               |   70   60     0
        hold a c2 70      | held               |    0  130     0
        hold a c2 70      | held               |    0  130     0
        settle c1 60      | charged 60         |    0   70    60
        hold a c3 40      | refused, 0 free    |    0   70    60
        & hold a c2 70    | held               |    0   70    60""",
    "the same hold twice in one batch stands once": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        & hold a c1 60    | held               |   40   60     0
        hold a c2 10      | held               |   30   70     0
        & hold a c2 10    | held               |   30   70     0""",
    "an answer dearer than its hold is charged as far as the wallet goes": """
        step              | answer                | free held spent
        top_up a 100      | ok                    |  100    0     0
        hold a c1 60      | held                  |   40   60     0
        settle c1 90      | charged 90            |   10    0    90
        hold a c2 5       | held                  |    5    5    90
        settle c2 25      | charged 10, leaked 15 |    0    0   100""",
    "what another call holds is never taken for a dear answer": """
        step              | answer                | free held spent
        top_up a 100      | ok                    |  100    0     0
        hold a c1 60      | held                  |   40   60     0
        hold a c2 40      | held                  |    0  100     0
        settle c1 90      | charged 60, leaked 30 |    0   40    60
        settle c2 40      | charged 40            |    0    0   100""",
    "what settlements of a batch free is there for a dear one and for holds": """
        step              | answer                | free held spent
        top_up a 100      | ok                    |  100    0     0
        hold a c1 60      | held                  |   40   60     0
        hold a c2 40      | held                  |    0  100     0
        hold a c3 45      | held                  |    5   45    50
        & settle c2 45    | charged 45            |    5   45    50
        & settle c1 5     | charged 5             |    5   45    50""",
    "an extension is part of the hold": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        extend c1 30      | held               |   10   90     0
        extend c1 30      | refused, 10 free   |   10   90     0
        settle c1 85      | charged 85         |   15    0    85
        extend c1 5       | HoldGoneError      |   15    0    85""",
    "an extension its caller never heard of is freed with the rest": """
        step                      | answer      | free held spent
        top_up a 100              | ok          |  100    0     0
        hold a c1 60              | held        |   40   60     0
        extend c1 30              | held        |   10   90     0
        settle c1 10 knowing 60   | charged 10  |   90    0    10""",
    "an extension and the settlement of one call in one batch": """
        step                        | answer      | free held spent
        top_up a 100                | ok          |  100    0     0
        hold a c1 60                | held        |   40   60     0
        extend c1 30                | held        |   55    0    45
        & settle c1 45 knowing 60   | charged 45  |   55    0    45""",
    "a hold nobody waits for is released and leaves nothing": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        release c1        | charged 0          |  100    0     0
        release c1        | charged 0          |  100    0     0
        settle c1 10      | HoldGoneError      |  100    0     0""",
    "a release after the settlement changes nothing": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        settle c1 45      | charged 45         |   55    0    45
        release c1        | charged 0          |   55    0    45""",
    "a dead owner's holds are voided, and nobody else's": """
        step                | answer           | free held spent
        top_up a 100        | ok               |  100    0     0
        hold a c1 30        | held             |   70   30     0
        hold a c2 20        | held             |   50   50     0
        hold a c3 10 by w2  | held             |   40   60     0
        sweep w1            | voided 2         |   90   10     0
        sweep w1            | voided 0         |   90   10     0
        settle c3 10        | charged 10       |   90    0    10""",
    "a settlement after a sweep is a late charge, once": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        sweep w1          | voided 1           |  100    0     0
        settle c1 45      | charged 45         |   55    0    45
        settle c1 45      | charged 45         |   55    0    45""",
    "a late charge takes what is left and no more": """
        step              | answer                | free held spent
        top_up a 100      | ok                    |  100    0     0
        hold a c1 60      | held                  |   40   60     0
        sweep w1          | voided 1              |  100    0     0
        hold a c2 90      | held                  |   10   90     0
        settle c1 45      | charged 10, leaked 35 |    0   90    10
        settle c1 45      | charged 10, leaked 35 |    0   90    10
        settle c2 90      | charged 90            |    0    0   100""",
    "a void after a sweep changes nothing": """
        step              | answer               | free held spent
        top_up a 100      | ok                   |  100    0     0
        hold a c1 60      | held                 |   40   60     0
        sweep w1          | voided 1             |  100    0     0
        void c1           | charged 0, leaked 60 |  100    0     0""",
    "a poisoned operation fails alone": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        hold a c2 30      | held               |   40    0    60
        & settle c9 10    | HoldGoneError      |   40    0    60
        & settle c1 60    | charged 60         |   40    0    60
        & void c2         | charged 0          |   40    0    60""",
    "a shortfall survives the replay of its batch": """
        step              | answer                | free held spent
        top_up a 100      | ok                    |  100    0     0
        hold a c1 60      | held                  |   40   60     0
        settle c1 130     | charged 100, leaked 30|    0    0   100
        & extend c9 0     | HoldGoneError         |    0    0   100""",
    "a batch that does not fit is served first come first": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   10   90     0
        & hold a c2 60    | refused, 40 free   |   10   90     0
        & hold a c3 30    | held               |   10   90     0
        & hold a c4 20    | refused, 10 free   |   10   90     0""",
    "wallets of one batch do not know of each other": """
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        top_up b 50       | ok                 |   50    0     0
        hold a c1 60      | held               |   40   60     0
        & hold b c2 60    | refused, 50 free   |    0   50     0
        & hold b c3 50    | held               |    0   50     0
        settle c1 50      | charged 50         |   50    0    50
        & settle c3 20    | charged 20         |   30    0    20""",
    "held money cannot be taken out": """
        step                | answer           | free held spent
        top_up a 100        | ok               |  100    0     0
        hold a c1 60        | held             |   40   60     0
        correction a -41    | refused          |   40   60     0
        correction a -40    | ok               |    0   60     0
        settle c1 60        | charged 60       |    0    0    60
        correction a -1     | refused          |    0    0    60
        refund a 25         | ok               |   25    0    60""",
    "a wallet never holds more than its column can": f"""
        step                     | answer      | free held spent
        top_up a {MAX_NANO}      | ok          | {MAX_NANO} 0 0
        top_up a 1               | refused     | {MAX_NANO} 0 0
        hold a c1 {MAX_NANO + 1} | refused, {MAX_NANO} free | {MAX_NANO} 0 0
        hold a c1 {MAX_NANO}     | held        | 0 {MAX_NANO} 0
        settle c1 {MAX_NANO}     | charged {MAX_NANO} | 0 0 {MAX_NANO}""",
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_the_ledger_tells_the_story(ledger: LedgerFile, story: str) -> None:
    ledger.open_wallet("a")
    Teller(ledger).tell(story)


def test_a_story_that_tells_it_wrong_is_noticed(ledger: LedgerFile) -> None:
    for wrong in (
        "step | answer | free held spent\n top_up a 100 | refused | 100 0 0",
        "step | answer | free held spent\n grant a 100 | ok | 100 0 0",
    ):
        with pytest.raises(AssertionError, match=r"was answered|left"):
            Teller(ledger).tell(wrong)


def test_the_request_of_a_dear_answer_says_what_was_due(ledger: LedgerFile) -> None:
    Teller(ledger).tell("""
        step              | answer                | free held spent
        top_up a 100      | ok                    |  100    0     0
        hold a c1 60      | held                  |   40   60     0
        settle c1 130     | charged 100, leaked 30|    0    0   100""")
    assert ledger.rows("SELECT state, charge, leakage, hold FROM requests") == [("posted", 100, 30, 60)]


def test_a_swept_hold_is_shown_as_leakage_until_its_call_is_settled(ledger: LedgerFile) -> None:
    teller = Teller(ledger)
    teller.tell("""
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0
        sweep w1          | voided 1           |  100    0     0""")
    shown = "SELECT state, status, error, charge, leakage, hold, currency FROM requests"
    assert ledger.rows(shown) == [("voided", 500, "owner_died", 0, 60, 60, "INR")]
    teller.tell("""
        step              | answer             | free held spent
        settle c1 45      | charged 45         |   55    0    45""")
    assert ledger.rows(shown) == [("posted", 200, None, 45, 0, 0, "INR")]


def test_a_move_asked_for_twice_moves_money_once(ledger: LedgerFile) -> None:
    ledger.open_wallet("a")
    ledger.open_wallet("b")
    assert ledger.move("a", TransferKind.TOP_UP, 100, id_="once") == Booked(new=True)
    assert ledger.move("a", TransferKind.TOP_UP, 100, id_="once") == Booked(new=False)
    for name, kind, change in (
        ("a", TransferKind.TOP_UP, 101),
        ("a", TransferKind.TOP_UP, -100),
        ("a", TransferKind.GRANT, 100),
        ("b", TransferKind.TOP_UP, 100),
    ):
        assert ledger.move(name, kind, change, id_="once") == Clash()
    assert (ledger.amounts("a").balance, ledger.amounts("b").balance) == (100, 0)
    assert ledger.check().balanced


def test_what_a_wallet_cannot_give_back_is_booked_as_lost(ledger: LedgerFile) -> None:
    Teller(ledger).tell("""
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 30      | held               |   70   30     0""")
    for _ in range(3):
        assert ledger.take_back("a", -90, id_="dispute") == TakenBack(70, 20)
    assert ledger.take_back("a", -91, id_="dispute") == Clash()
    assert ledger.rows("SELECT debit, credit, amount FROM losses") == [("bad_debt", "clearing:manual", 20)]
    Teller(ledger).tell("""
        step              | answer             | free held spent
        hold a c2 1       | refused, 0 free    |    0   30     0""")
    assert ledger.take_back("a", -5, id_="second") == TakenBack(0, 5)
    assert ledger.check().balanced


@pytest.mark.parametrize("kind", list(TransferKind))
@pytest.mark.parametrize("change", [1, -1, MAX_NANO, -MAX_NANO])
def test_a_transfer_has_the_wallet_on_the_side_the_money_goes_to(kind: TransferKind, change: int) -> None:
    side = sides(kind, 7, change)
    assert side.amount_nano == abs(change)
    assert (side.credit if change > 0 else side.debit) == "wallet:7"
    assert (side.debit if change > 0 else side.credit) != "wallet:7"


@pytest.mark.parametrize(
    ("due", "hold", "available", "charge", "leakage"),
    [
        (0, 0, 0, 0, 0),
        (5, 10, 0, 5, 0),
        (10, 10, 0, 10, 0),
        (11, 10, 0, 10, 1),
        (15, 10, 3, 13, 2),
        (9, 0, 9, 9, 0),
    ],
)
def test_a_charge_takes_the_hold_and_what_is_free_and_no_more(
    due: int, hold: int, available: int, charge: int, leakage: int
) -> None:
    assert split_charge(due, hold, available) == (charge, leakage)


def test_a_settlement_that_was_undone_is_charged_by_what_the_wallet_has_then(ledger: LedgerFile) -> None:
    Teller(ledger).tell("""
        step              | answer             | free held spent
        top_up a 60       | ok                 |   60    0     0
        hold a c1 60      | held               |    0   60     0""")
    operation = settlement("c1", ledger.accounts["a"], due=90, hold=60)
    assert ledger.try_and_undo(operation) == Settled(60, 30)
    assert ledger.move("a", TransferKind.TOP_UP, 100) == Booked(new=True)
    assert ledger.commit(operation) == [Settled(90, 0)]
    assert ledger.rows("SELECT charge, leakage FROM requests") == [(90, 0)]
    assert ledger.check().balanced
