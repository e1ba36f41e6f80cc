/**
 * What a browser opens: it keeps as many connections alive as `idle` says, pays once, and reports what `fetch` gave it.
 * No icon is asked for, which could take one of these from it. Set up by the query: `key`, `idle`, and `report`, an
 * address of the test's.
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
