/**
 * The page that a browser opens. It keeps `idle` connections alive, pays once, and reports the result of `fetch`. It
 * requests no icon, which could take one of these connections. The query sets it up: `key`, `idle`, and `report`, an
 * address of the test.
 */
export const page = `<!doctype html>
<title>Pay</title>
<link rel="icon" href="data:,">
<script>
  const settings = new URLSearchParams(location.search)
  const at = name => settings.get(name)
  async function pay () {
    await Promise.all(Array.from({ length: Number(at('idle')) }, (_, i) => fetch('/together/' + at('idle') + '?' + i)))
    const response = await fetch('/pay', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': at('key') },
      body: JSON.stringify({ amount: 1999 })
    })
    return { status: response.status, body: await response.text() }
  }
  pay().catch(error => ({ status: 0, body: String(error) })).then(result => fetch(at('report'), {
    method: 'POST', mode: 'no-cors', body: JSON.stringify(result)
  }))
</script>
`
