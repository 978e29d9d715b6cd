package import MartletXMPP

/// What a session holds back. An object, so that a session which holds nothing back carries no more than `nil`.
///
/// It is there while the client is inactive (XEP-0352), and while the session has no connection (XEP-0198 §5): what waits then for whoever
/// resumes it need not have every presence that a contact had meanwhile.
final class HeldStanzas {
    @exclusivity(unchecked) var queue: ClientStateQueue

    init(_ queue: ClientStateQueue) { self.queue = queue }
}

/// What is held back was not sent: it is neither counted nor kept for acknowledgement (XEP-0198) before it goes out. The client is not asked
/// about it either: `<r/>` goes out with what is sent, or when the client has just said something, so that it wakes no radio. When a session
/// ends for good, what it held back is dropped: it was of this moment.
extension ClientSession {
    /// The client says whether somebody looks at it. Takes full effect before its next stanza is looked at (XEP-0352 §5.1).
    package func indicate(_ indication: ClientStateIndication) {
        guard !isEnded else { return }
        switch indication {
        case .inactive: beginHolding()
        case .active: endHolding()
        }
    }

    /// Holds back from here on what can wait, if it does not already, and if the operator wants that.
    func beginHolding() {
        guard held == nil, router.settings.held.stanzasMax > 0 else { return }
        held = HeldStanzas(ClientStateQueue(router.settings.held))
    }

    /// Lets go of everything, and holds nothing back any more.
    func endHolding() {
        releaseHeld()
        held = nil
    }

    /// - Parameter view: under which the message log has the stanza; what is there does not wait. 0 for what is not.
    /// - Returns: whether the stanza waits. If not, it is to go out now: what it had to wait behind has gone.
    func holdsBack(_ stanza: EncodedStanza, view: UInt64, _ held: HeldStanzas) -> Bool {
        if Post.isUnkept(view), held.queue.hold(stanza) { return true }
        releaseHeld()
        return false
    }

    /// What is released is bounded by what may be held, and does not end a session that is at its limits: the next stanza will.
    private func releaseHeld() {
        guard let stanzas = held?.queue.release(), !stanzas.isEmpty else { return }
        for stanza in stanzas {
            context.counters.sent(stanza.bytes)
            _ = keep(stanza, view: 0, isStored: false)
        }
        guard case .attached(let transport) = link else { return }
        for stanza in stanzas { transport.write(stanza.bytes) }
        markDirty()
    }
}
