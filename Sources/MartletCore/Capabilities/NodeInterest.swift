package import MartletXMPP

/// Which sessions want to hear of a node (XEP-0163 §4.2). Clients of one kind have one profile, so that the last answer is mostly the next one.
package struct NodeInterest {
    private let node: String
    /// Who hears of it otherwise.
    private let told: Set<JID>
    private var last = (profile: EntityProfile.none, isInterested: false)

    package init(in node: String, besides told: Set<JID>) {
        self.node = node
        self.told = told
    }

    fileprivate mutating func isOf(_ profile: EntityProfile) -> Bool {
        if profile !== last.profile { last = (profile, profile.interests.contains(node)) }
        return last.isInterested
    }

    fileprivate func isTold(_ address: FullJID) -> Bool { !told.isEmpty && told.contains(.full(address)) }
}

extension AccountHome {
    /// Adds those of the account's sessions that want to hear. Under the lock.
    package func add(sessionsWith interest: inout NodeInterest, to sessions: inout SessionsByLoop) {
        // By index: walking over the entries would copy each of them.
        for index in self.sessions.indices where self.sessions[index].isAvailable && interest.isOf(self.sessions[index].profile) {
            if !interest.isTold(self.sessions[index].address) { sessions.append(self.sessions[index].ref) }
        }
    }
}
