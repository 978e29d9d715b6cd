package import MartletXMPP

/// Whom an account wants to be shown to by the directory: read and changed in its home.
extension Router {
    /// - Returns: `nil` if it has said nothing.
    package func presenceWish(of account: BareJID, on mailbox: LoopMailbox) async throws(AccountRefusal) -> PresenceWish? {
        let answer: Result<PresenceWish?, AccountRefusal> = await withCheckedContinuation { continuation in
            mailbox.run { [self] context in
                withHome(of: account, context) { [self] home, context in
                    let answer: Result<PresenceWish?, AccountRefusal> =
                        home.isResident ? .success(home.documents.value(.directoryVisibility, PresenceWish.init)) : .failure(refusal(home))
                    shardIdle(home)
                    context.after { _ in continuation.resume(returning: answer) }
                }
                context.runEffects()
            }
        }
        return try answer.get()
    }

    /// Returns when it is on disk. Those who watch the account's presence see what has become of it.
    package func setPresenceWish(_ wish: PresenceWish, of account: BareJID, on mailbox: LoopMailbox) async throws(AccountRefusal) {
        let outcome: Result<Void, AccountRefusal> = await withCheckedContinuation { continuation in
            mailbox.run { [self] context in
                withHome(of: account, context) { [self] home, context in
                    guard home.isResident else {
                        let refusal = refusal(home)
                        return context.after { _ in continuation.resume(returning: .failure(refusal)) }
                    }
                    home.documents[.directoryVisibility] = wish.document
                    submit([.document(home.id, .directoryVisibility, wish.document)], of: home, context)
                    notePresenceChange(of: home, context)
                    context.afterCommit(home.lastTicket) { _, outcome in continuation.resume(returning: outcome.mapError(AccountRefusal.store)) }
                    shardIdle(home)
                }
                context.runEffects()
            }
        }
        try outcome.get()
    }

    private func refusal(_ home: AccountHome) -> AccountRefusal {
        home.isAbsent ? .noAccount(home.address) : .store(.unavailable("the account cannot be read"))
    }
}
