package import MartletCore
import MartletXML
package import MartletXMPP
import NIOCore
import Synchronization

/// What a directory says of people, without a directory: a test says it.
package final class InMemoryProfiles: ProfileSource {
    private struct State {
        var profiles: [BareJID: Profile] = [:]
        var changes: [BareJID: [ProfileChange]] = [:]
        var pictures: [String: [UInt8]] = [:]
        var picturesAsked: [String] = []
        var refusal: StanzaError?
    }

    // A lock, because sources are asked by whatever thread.
    private let state = Mutex(State())

    package init() {}

    package subscript(account: BareJID) -> Profile? {
        get { state.withLock { $0.profiles[account] } }
        set { state.withLock { $0.profiles[account] = newValue } }
    }

    /// What every change is refused with.
    package var refusal: StanzaError? {
        get { state.withLock { $0.refusal } }
        set { state.withLock { $0.refusal = newValue } }
    }

    /// What somebody has changed, the latest last.
    package func changes(of account: BareJID) -> [ProfileChange] { state.withLock { $0.changes[account] ?? [] } }

    package func profile(of account: BareJID) -> Profile? { self[account] }

    /// Pictures that can be had, by their digests.
    package var pictures: [String: [UInt8]] {
        get { state.withLock { $0.pictures } }
        set { state.withLock { $0.pictures = newValue } }
    }

    /// Digests of those that were asked for, the latest last.
    package var picturesAsked: [String] { state.withLock { $0.picturesAsked } }

    package func picture(_ digest: String, of account: BareJID) async -> [UInt8]? {
        state.withLock { state in
            state.picturesAsked.append(digest)
            return state.pictures[digest]
        }
    }

    package func change(_ account: BareJID, _ changes: [ProfileChange]) async throws(StanzaError) -> Profile {
        try state.withLock { state throws(StanzaError) in
            if let refusal = state.refusal { throw refusal }
            guard var profile = state.profiles[account] else { throw .itemNotFound() }
            for change in changes { profile.card = Self.card(profile.card, with: change) }
            state.profiles[account] = profile
            state.changes[account, default: []] += changes
            return profile
        }
    }

    private static func card(_ old: ByteBuffer, with change: ProfileChange) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("vCard", .vCard) { writer in
            if let card = try? parseElement(old, limits: .ownWriting, defaultNamespace: .none) {
                for child in card.root.children where child.localName != change.name { writer.append(child) }
            }
            for element in change.elements { writer.raw(element) }
        }
        return writer.buffer
    }
}
