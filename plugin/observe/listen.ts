import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { channels } from './channels.ts'
import type { IdempotencyEvents } from './channels.ts'

/** A function for each event. */
export type Listeners = { [name in keyof IdempotencyEvents]?: (event: IdempotencyEvents[name]) => void }

/** Subscribes to the events of all apps in the process, until the returned function is called. */
export function listen (listeners: Listeners): () => void {
  const subscriptions = Object.entries(listeners).map(([event, listener]) => {
    const { name } = channels[event as keyof IdempotencyEvents]
    const onMessage = (message: unknown): void => listener(message as never)
    subscribe(name, onMessage)
    return { name, onMessage }
  })
  return () => {
    for (const { name, onMessage } of subscriptions) unsubscribe(name, onMessage)
  }
}
