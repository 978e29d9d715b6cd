/// RFC 6121 Appendix A. The rules speak of the flags and not of the nine states, because every row of the tables follows
/// from them; the tests have the rows as they are printed.
extension SubscriptionState {
    /// The account sends `stanza` to the contact (RFC 6121 §A.2).
    ///
    /// Where ``SubscriptionStep/stopsSendingPresence`` is set, the `unavailable`s go out before the stanza, while the contact
    /// is still subscribed (§3.2.2).
    package func sending(_ stanza: SubscriptionStanza) -> SubscriptionStep {
        switch stanza {
        case .subscribe: asking()
        case .unsubscribe: givingUp()
        case .subscribed: approving()
        case .unsubscribed: denying()
        }
    }

    /// The contact's `stanza` reaches the account (RFC 6121 §A.3).
    ///
    /// Where the stanza passes on, it does before the roster push (§3.1.6, §3.2.3, §3.3.3).
    package func receiving(_ stanza: SubscriptionStanza) -> SubscriptionStep {
        switch stanza {
        case .subscribe: beingAsked()
        case .unsubscribe: beingGivenUp()
        case .subscribed: beingApproved()
        case .unsubscribed: beingDenied()
        }
    }

    /// The user removes the contact from the roster (RFC 6121 §2.5.2): what the contact is told, in this order, and the step.
    ///
    /// A request that waits on either side ends as well: ours is withdrawn, the contact's is denied. The RFC speaks only of
    /// subscriptions; without it the contact could still grant what nobody wants any more, and the other way round. Prosody
    /// does the same.
    package func removing() -> (stanzas: [SubscriptionStanza], step: SubscriptionStep) {
        var stanzas: [SubscriptionStanza] = []
        if to || pendingOut { stanzas.append(.unsubscribe) }
        if from || pendingIn { stanzas.append(.unsubscribed) }
        return (stanzas, step(to: .none, passesOn: false))
    }
}

// MARK: Outbound

extension SubscriptionState {
    /// Table 2. Always routed, also when nothing changes: so a lost request or a lost approval is repaired.
    private func asking() -> SubscriptionStep {
        var next = self
        next.pendingOut = !to
        next.isInRoster = true
        return step(to: next, passesOn: true)
    }

    /// Table 3. Always routed.
    private func givingUp() -> SubscriptionStep {
        var next = self
        next.to = false
        next.pendingOut = false
        return step(to: next, passesOn: true)
    }

    /// Table 4. An approval that nobody asked for is kept for the day when the contact asks (§3.4.2).
    private func approving() -> SubscriptionStep {
        guard !from else { return step(to: self, passesOn: false) }
        var next = self
        next.from = pendingIn
        next.approved = !pendingIn
        next.pendingIn = false
        next.isInRoster = true
        return step(to: next, passesOn: pendingIn)
    }

    /// Table 5. Denies a request, cancels a subscription, or takes back an approval; the contact never learns of the last
    /// (§3.2.2).
    private func denying() -> SubscriptionStep {
        var next = self
        next.from = false
        next.pendingIn = false
        next.approved = false
        return step(to: next, passesOn: from || pendingIn)
    }
}

// MARK: Inbound

extension SubscriptionState {
    /// Table 6. A request that is granted already, or was approved before it came, is answered in the user's name and not
    /// shown (§3.1.3, §3.4.2).
    ///
    /// An approval is used up by the request that it answers: a contact that unsubscribes and asks again is shown to the
    /// user. §3.4.2 leaves that to the server. A contact that asks for what it has seems to have lost it, so it also gets the
    /// current presence again, which the RFC does not ask for; Prosody does the same.
    private func beingAsked() -> SubscriptionStep {
        var next = self
        if from || approved {
            next.from = true
            next.approved = false
            return step(to: next, passesOn: false, reply: .subscribed)
        }
        next.pendingIn = true
        return step(to: next, passesOn: !pendingIn)
    }

    /// Table 7. The contact gives up its subscription or withdraws its request.
    ///
    /// Not answered with `unsubscribed`, which the note under the table recommends and §3.3.3 does not know. It would tell the
    /// contact nothing new, and cancel the contact's next request if that is already on its way: the two sides would disagree
    /// for good. Prosody does not answer either.
    private func beingGivenUp() -> SubscriptionStep {
        var next = self
        next.from = false
        next.pendingIn = false
        return step(to: next, passesOn: from || pendingIn)
    }

    /// Table 8. An approval of what was not asked for is ignored: nobody can push himself into a roster.
    private func beingApproved() -> SubscriptionStep {
        guard pendingOut else { return step(to: self, passesOn: false) }
        var next = self
        next.to = true
        next.pendingOut = false
        return step(to: next, passesOn: true)
    }

    /// Table 9.
    private func beingDenied() -> SubscriptionStep {
        var next = self
        next.to = false
        next.pendingOut = false
        return step(to: next, passesOn: to || pendingOut)
    }
}

extension SubscriptionState {
    /// What the user's clients see of the state: `subscription`, `ask` and `approved` of an item that is shown at all.
    private var shown: SubscriptionState {
        guard isInRoster else { return .none }
        var shown = self
        shown.pendingIn = false
        return shown
    }

    private func step(to next: SubscriptionState, passesOn: Bool, reply: SubscriptionStanza? = nil) -> SubscriptionStep {
        SubscriptionStep(
            state: next, passesOn: passesOn, reply: reply, pushes: next.shown != shown,
            startsSendingPresence: next.from && (!from || reply == .subscribed), stopsSendingPresence: from && !next.from)
    }
}
