"""What must hold of top-ups and codes beside the ledger's own rules: queries whose rows are the breaches."""

from __future__ import annotations

# Each row: what it is, what is there, what should be. As in `ledger.check`.
RULES: dict[str, str] = {
    "every paid top-up has its transfer": """
        SELECT t.id, COALESCE(x.amount, 0), t.credit FROM topups t
        LEFT JOIN transfers x ON x.id = t.id AND x.kind = 'top_up'
        WHERE t.paid IS NOT NULL AND (x.id IS NULL OR x.amount <> t.credit OR x.account_id <> t.account_id
        OR x.currency <> t.currency OR x.debit <> 'clearing:' || t.processor)""",
    "no unpaid top-up has a transfer": """
        SELECT t.id, x.amount, 0 FROM topups t JOIN transfers x ON x.id = t.id AND x.kind <> 'charge'
        WHERE t.paid IS NULL""",
    "a top-up is paid, or its status says why not": """
        SELECT id, status, COALESCE(paid, 0) FROM topups
        WHERE (paid IS NULL) <> (status IN ('created', 'pending', 'failed', 'expired', 'mismatch'))""",
    "money that a processor brought is a top-up's": """
        SELECT x.id, x.amount, 0 FROM transfers x LEFT JOIN topups t ON t.id = x.id AND t.paid IS NOT NULL
        WHERE x.kind = 'top_up' AND x.debit <> 'clearing:manual' AND t.id IS NULL""",
    "no more goes back than was paid": """
        SELECT id, refunded + disputed, credit FROM topups
        WHERE refunded + disputed > credit OR refunded_total > total OR refunded < 0 OR disputed < 0
        OR (paid IS NULL AND (refunded <> 0 OR disputed <> 0))""",
    "what went back of a top-up is the sum of its refunds": """
        SELECT t.id, t.refunded, COALESCE(r.credit, 0) FROM topups t LEFT JOIN (
          SELECT topup_id, SUM(credit) AS credit, SUM(total) AS total FROM topup_refunds WHERE status <> 'undone'
          GROUP BY topup_id) r ON r.topup_id = t.id
        WHERE t.refunded <> COALESCE(r.credit, 0) OR t.refunded_total <> COALESCE(r.total, 0)""",
    "what is disputed of a top-up is the sum of its disputes": """
        SELECT t.id, t.disputed, COALESCE(d.credit, 0) FROM topups t LEFT JOIN (
          SELECT topup_id, SUM(credit) AS credit FROM topup_disputes WHERE status <> 'won' GROUP BY topup_id
        ) d ON d.topup_id = t.id WHERE t.disputed <> COALESCE(d.credit, 0)""",
    "every refund and dispute was taken as it says": """
        SELECT g.id, COALESCE(x.amount, 0), g.taken FROM (
          SELECT id, account_id, credit, taken, lost FROM topup_refunds
          UNION ALL SELECT id, account_id, credit, taken, lost FROM topup_disputes) g
        LEFT JOIN transfers x ON x.id = g.id AND x.kind <> 'charge' LEFT JOIN losses l ON l.id = g.id
        WHERE COALESCE(x.amount, 0) <> g.taken OR COALESCE(l.amount, 0) <> g.lost OR g.taken + g.lost <> g.credit
        OR (x.id IS NOT NULL AND x.account_id <> g.account_id)""",
    "what a processor owes us is what was paid less what went back": """
        SELECT 'clearing:' || p.processor, p.owed, COALESCE(b.owed, 0) FROM (
          SELECT processor, SUM(credit - refunded - disputed) AS owed FROM topups WHERE paid IS NOT NULL
          GROUP BY processor) p
        LEFT JOIN (
          SELECT name, SUM(amount) AS owed FROM (
            SELECT debit AS name, amount FROM transfers WHERE kind <> 'charge'
            UNION ALL SELECT credit AS name, -amount AS amount FROM transfers WHERE kind <> 'charge'
            UNION ALL SELECT debit AS name, amount FROM losses
            UNION ALL SELECT credit AS name, -amount AS amount FROM losses) m GROUP BY name
        ) b ON b.name = 'clearing:' || p.processor
        WHERE p.processor <> 'manual' AND p.owed <> COALESCE(b.owed, 0)""",
    "an event moved the money of a paid top-up": """
        SELECT e.event_id, e.topup_id, e.processor FROM payment_events e LEFT JOIN topups t
        ON t.id = e.topup_id AND t.processor = e.processor AND t.paid IS NOT NULL WHERE t.id IS NULL""",
    "a code was used as often as it says": """
        SELECT c.hint, c.uses, COALESCE(u.uses, 0) FROM codes c LEFT JOIN (
          SELECT digest, COUNT(*) AS uses FROM code_uses GROUP BY digest) u ON u.digest = c.digest
        WHERE c.uses <> COALESCE(u.uses, 0)""",
    "every use of a code has its transfer": """
        SELECT u.transfer_id, COALESCE(x.amount, 0), c.credit FROM code_uses u JOIN codes c ON c.digest = u.digest
        LEFT JOIN transfers x ON x.id = u.transfer_id AND x.kind = 'grant'
        WHERE x.id IS NULL OR x.amount <> c.credit OR x.account_id <> u.account_id""",
}
