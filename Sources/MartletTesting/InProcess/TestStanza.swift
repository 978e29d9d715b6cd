package import MartletXML
import MartletXMPP
import NIOCore

/// A stanza as tests compare and print it: equal if it says the same, however it was written. Attributes in any order,
/// namespaces by name.
package struct TestStanza: Hashable, ExpressibleByStringLiteral, ExpressibleByStringInterpolation, CustomStringConvertible {
    package let element: FlatElement
    package let description: String

    package init(_ element: FlatElement) {
        self.element = element
        let tree = Element(element.root)
        var pending = [tree]
        while let next = pending.popLast() {
            next.attributes.sort { ($0.namespace, $0.name) < ($1.namespace, $1.name) }
            pending += next.children
        }
        var writer = XMLWriter()
        writer.append(tree)
        description = String(buffer: writer.buffer)
    }

    package init(stringLiteral text: String) {
        guard let element = try? parseElement(ByteBuffer(string: text), limits: .authenticated) else {
            preconditionFailure("no stanza: \(text)")
        }
        self.init(element)
    }

    package static func == (a: TestStanza, b: TestStanza) -> Bool { a.description == b.description }
    package func hash(into hasher: inout Hasher) { hasher.combine(description) }

    /// The stanza's `id`; that of a push is the server's choice.
    package var id: String? { element.attribute("id") }

    /// The defined condition and the type, such as `cancel/item-not-found`, if the stanza is an error.
    package var error: String? {
        guard element.root.attributeEquals("type", "error"), let error = element.firstChild("error", .client) else { return nil }
        let condition = error.children.first { $0.isIn(.stanzaErrors) && !$0.isNamed("text", .stanzaErrors) }
        return "\(error.attribute("type") ?? "")/\(condition?.localName ?? "")"
    }

    /// The child `local` of the stanza, in whatever namespace.
    package func child(_ local: String) -> ElementView? { element.children.first { $0.localName == local } }
}
