import MartletXML
import MartletXMPP

extension Router {
    /// A message that came back is news for those of the sender's other sessions that have a copy of what was sent (XEP-0280 §6.1).
    func copyBounce(_ answer: EncodedStanza, of message: Stanza, _ origin: SessionRef, _ context: LoopContext) {
        guard let peer = message.to, let host = context.hosts.host(of: message.from.bare) else { return }
        withResidentHome(message.from.bare) { home in
            guard home.sessions.count > 1, let index = home.index(of: origin),
                let element = try? parseElement(answer.bytes, limits: .ownWriting)
            else { return }
            let bounce = Stanza(element, kind: .message(.error), from: peer, to: message.from)
            let sent = Route(account: home.address, direction: .sent, origin: origin, peer: peer)
            let received = Route(account: home.address, direction: .received, origin: nil, peer: peer)
            for stage in host.fanOut {
                let copies = stage.copies(of: message, home, sent, besides: SessionSet(index))
                for (index, entry) in home.sessions.enumerated() where copies.contains(index: index) {
                    context.post(stage.encodeCopy(of: bounce, for: entry, received), to: entry.ref)
                }
            }
        }
    }
}
