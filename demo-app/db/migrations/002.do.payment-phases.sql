-- A payment is started before the provider is asked, and done or declined when its answer is known.
ALTER TABLE orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders ADD CONSTRAINT orders_status_check
  CHECK (status IN ('pending', 'paying', 'paid', 'refunding', 'refunded'));

ALTER TABLE payments
  ADD status     text NOT NULL DEFAULT 'done' CHECK (status IN ('started', 'done', 'declined')),
  -- The provider's own number for it.
  ADD trade_no   text,
  ADD settled_at timestamptz,
  -- When an attempt last worked on it: the sweeper leaves alone what somebody still works on.
  ADD touched_at timestamptz NOT NULL DEFAULT now();
UPDATE payments SET settled_at = created_at;
ALTER TABLE payments ALTER status DROP DEFAULT;
ALTER TABLE payments ADD CHECK ((status = 'started') = (settled_at IS NULL));

-- Still the last line of defence. What was declined moved no money, and may be tried anew.
ALTER TABLE payments DROP CONSTRAINT payments_once;
CREATE UNIQUE INDEX payments_once ON payments (order_id, kind) WHERE status <> 'declined';
CREATE INDEX payments_started ON payments (touched_at) WHERE status = 'started';
