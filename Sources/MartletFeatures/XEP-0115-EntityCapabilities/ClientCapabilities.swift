package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

/// What clients are able to do and want to hear of. An account asks its own sessions and those of its contacts at other servers, where nobody
/// with the same digest has answered yet.
extension EntityCapabilities: InterestStage {
    package func concerns(_ presence: borrowing Stanza) -> Bool {
        presence.hasChild("c", .capabilities) || presence.hasChild("c", .entityCapabilities2)
    }

    package func announced(by index: Int, at home: AccountHome, _ context: LoopContext) -> Consequences {
        // A presence that does not say anything of it changes nothing: some clients say it once.
        guard let key = home.sessions[index].presence.flatMap({ CapabilityKey(in: $0) }), key != home.sessions[index].capabilities?.key else {
            return Consequences()
        }
        home.sessions[index].capabilities = Capabilities(key: key)
        return learn(key, of: home.sessions[index].address, at: home, context)
    }

    package func heard(_ presence: borrowing Stanza, of address: FullJID, at home: AccountHome, _ context: LoopContext) -> Consequences {
        guard let key = CapabilityKey(in: presence), key != home.remotePresences[capabilities: address]?.key else { return Consequences() }
        home.remotePresences[capabilities: address] = Capabilities(key: key)
        return learn(key, of: address, at: home, context)
    }

    private func learn(_ key: CapabilityKey, of address: FullJID, at home: AccountHome, _ context: LoopContext) -> Consequences {
        if let profile = cache[key] { return Consequences(wishes: take(profile, for: key, of: address, at: home)) }
        // Whoever has the same digest is served by one answer.
        if home.isAsking(Self.question(key)) { return Consequences() }
        return Consequences(requests: [ask(address, key, at: home, context)])
    }

    private func ask(_ address: FullJID, _ key: CapabilityKey, at home: AccountHome, _ context: LoopContext) -> OwnRequest {
        home.noteAsked(address)
        return OwnRequest(.get, id: context.random.token(), to: .full(address), payload: Self.question(key))
    }

    private static func question(_ key: CapabilityKey) -> ByteBuffer {
        var writer = XMLWriter()
        writer.element("query", .discoInfo, ["node": key.node])
        return writer.buffer
    }

    // MARK: Answers

    package func answered(
        _ request: OwnRequest, _ outcome: RequestOutcome, _ answer: ElementView?, at home: AccountHome, _ context: LoopContext
    ) -> Consequences {
        guard case .full(let address) = request.to, let key = key(askedFor: request, at: home) else { return Consequences() }
        if case .error(let error) = outcome, answer == nil, error.condition == .resourceConstraint {
            // It was not asked, since too much is asked at a time: its turn comes with the next answer.
            home.noteAsked(address, false)
            return Consequences()
        }
        var consequences = conclude(key, address, outcome, answer, at: home, context)
        if consequences.requests.isEmpty, let (next, key) = home.unasked, !home.isAsking(Self.question(key)) {
            consequences.requests.append(ask(next, key, at: home, context))
        }
        return consequences
    }

    private func conclude(
        _ key: CapabilityKey, _ address: FullJID, _ outcome: RequestOutcome, _ answer: ElementView?, at home: AccountHome, _ context: LoopContext
    ) -> Consequences {
        guard outcome == .result, let info = answer.flatMap({ DiscoInfo($0) }) else {
            // Who has come back under the same address meanwhile is another one, and has not been asked.
            if home.isAsked(address) { _ = take(.none, for: key, of: address, at: home) }
            return Consequences(requests: askAnother(key, at: home, context))
        }
        guard key.stands(for: info) else {
            // It counts for who has said it, and for nobody else (XEP-0115 §5.4).
            let wishes = take(info.profile, for: key, of: address, at: home)
            return Consequences(requests: askAnother(key, at: home, context), wishes: wishes)
        }
        let profile = info.profile
        cache.keep(profile, as: key)
        let others = home.unknown(with: key)
        let all = others.contains(address) || home.knows(address) ? others : others + [address]
        return Consequences(wishes: all.flatMap { take(profile, for: key, of: $0, at: home) })
    }

    /// The digest that is behind a question, if it still matters.
    private func key(askedFor request: OwnRequest, at home: AccountHome) -> CapabilityKey? {
        guard let question = try? parseElement(request.payload, limits: .authenticated), let node = question.root.attribute("node") else { return nil }
        return CapabilityKey(node: node)
    }

    private func askAnother(_ key: CapabilityKey, at home: AccountHome, _ context: LoopContext) -> [OwnRequest] {
        home.unknown(with: key).prefix(1).map { ask($0, key, at: home, context) }
    }

    /// It is known what a client wants to hear of.
    ///
    /// - Returns: what is new of that.
    private func take(_ profile: EntityProfile, for key: CapabilityKey, of address: FullJID, at home: AccountHome) -> [NodeWish] {
        if let index = home.index(of: address) {
            guard home.sessions[index].capabilities?.key == key else { return [] }
            let new = profile.interests.subtracting(home.sessions[index].profile.interests)
            home.sessions[index].capabilities?.profile = profile
            home.sessions[index].profile = profile
            return new.isEmpty ? [] : [NodeWish(new, address, home.sessions[index].ref)]
        }
        guard address.bare != home.address else { return [] }
        if let known = home.remotePresences[capabilities: address] {
            guard known.key == key else { return [] }
            home.remotePresences[capabilities: address]?.profile = profile
        }
        return profile.interests.isEmpty ? [] : [NodeWish(profile.interests, address, nil)]
    }
}

extension AccountHome {
    /// Whether it is a session, of the account's or of a contact's, of which something can be known.
    fileprivate func knows(_ address: FullJID) -> Bool {
        index(of: address) != nil || remotePresences[capabilities: address] != nil
    }

    fileprivate func noteAsked(_ address: FullJID, _ isAsked: Bool = true) {
        if let index = index(of: address) {
            sessions[index].capabilities?.isAsked = isAsked
        } else {
            remotePresences[capabilities: address]?.isAsked = isAsked
        }
    }

    /// Somebody who has a digest and has not been asked what it stands for.
    fileprivate var unasked: (FullJID, CapabilityKey)? {
        for entry in sessions {
            if let capabilities = entry.capabilities, capabilities.profile == nil, !capabilities.isAsked { return (entry.address, capabilities.key) }
        }
        return remotePresences.unasked
    }

    fileprivate func isAsked(_ address: FullJID) -> Bool {
        let capabilities = index(of: address).map { sessions[$0].capabilities } ?? remotePresences[capabilities: address]
        return capabilities?.isAsked ?? true
    }

    /// Who has a digest and has not been heard of.
    fileprivate func unknown(with key: CapabilityKey) -> [FullJID] {
        sessions.filter { $0.capabilities?.key == key && $0.capabilities?.profile == nil }.map(\.address) + remotePresences.unknown(with: key)
    }
}
