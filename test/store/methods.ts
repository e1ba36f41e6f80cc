import type { Store } from '../../plugin/store/store.ts'

/** The parts of a store that is broken on purpose. */
export type StoreMethods = Omit<Store, 'onReady' | 'onForgotten'>

export function methodsOf (store: Store): StoreMethods {
  return {
    claim: store.claim.bind(store),
    renew: store.renew.bind(store),
    complete: store.complete.bind(store),
    release: store.release.bind(store),
    withdraw: store.withdraw.bind(store),
    markLeft: store.markLeft.bind(store),
    wait: store.wait.bind(store),
    find: store.find.bind(store),
    forget: store.forget.bind(store)
  }
}
