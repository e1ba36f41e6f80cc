CREATE TABLE customers (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name       text NOT NULL UNIQUE,
  -- SHA-256 of the bearer token: who reads this table cannot sign in with what they read.
  token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32)
);

CREATE TABLE orders (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  customer_id uuid NOT NULL REFERENCES customers (id),
  -- Minor units (cents). At most 2^53 - 1, the largest integer that JSON readers agree on.
  amount      bigint NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
  currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  reference   text CHECK (char_length(reference) BETWEEN 1 AND 140),
  -- The statuses of demo-app/orders/status.ts, which also says which moves between them are legal.
  status      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'paid', 'refunded')),
  -- Goes up with every change, and every change names the version that it saw.
  version     integer NOT NULL DEFAULT 1 CHECK (version > 0),
  -- SHA-256 of scope and idempotency key: one operation creates one order, also when Redis has forgotten the key.
  operation   bytea NOT NULL UNIQUE CHECK (octet_length(operation) = 32),
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX orders_customer_id ON orders (customer_id);

CREATE TABLE payments (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  order_id   uuid NOT NULL REFERENCES orders (id),
  kind       text NOT NULL CHECK (kind IN ('capture', 'refund')),
  method     text CHECK (method IN ('card', 'wallet')),
  amount     bigint NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
  currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  reason     text CHECK (char_length(reason) BETWEEN 1 AND 140),
  -- Whose run wrote the row: a retry after a crash recognises its own payment by it.
  operation  bytea NOT NULL CHECK (octet_length(operation) = 32),
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK ((kind = 'capture') = (method IS NOT NULL)),
  CHECK (kind = 'refund' OR reason IS NULL),
  -- The last line of defence: whatever the code above it does, an order is charged once and refunded once.
  CONSTRAINT payments_once UNIQUE (order_id, kind)
);
