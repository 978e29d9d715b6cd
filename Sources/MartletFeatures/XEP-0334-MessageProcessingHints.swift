package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let hints: Namespace = "urn:xmpp:hints"
}

/// What the sender of a message would like to be done with it, or not. Obeyed by carbons and offline messages; nothing is
/// announced, and hints are delivered with the message.
package struct MessageProcessingHints: Feature {
    package static let specification = Specification.xep(334, "Message Processing Hints", version: "1.0.0")
    package init() {}
}

package struct Hints: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let noStore = Hints(rawValue: 1)
    package static let noPermanentStore = Hints(rawValue: 2)
    package static let noCopy = Hints(rawValue: 4)
    package static let store = Hints(rawValue: 8)
}

extension Stanza {
    /// Those of an error are somebody else's and do not count (§4.5).
    package var hints: Hints {
        guard !kind.isError, element.root.hasChild(in: .hints) else { return [] }
        var hints: Hints = []
        for child in element.root.children where child.isIn(.hints) {
            if child.isNamed("no-store", .hints) { hints.insert(.noStore) }
            if child.isNamed("no-permanent-store", .hints) { hints.insert(.noPermanentStore) }
            if child.isNamed("no-copy", .hints) { hints.insert(.noCopy) }
            if child.isNamed("store", .hints) { hints.insert(.store) }
        }
        return hints
    }
}
