/// An element as a tree that may be changed: for cold code, such as forms, commands and tests. Stanzas on their way stay flat.
///
/// Nothing here calls itself, whatever the depth: not copying, comparing, writing nor freeing.
public final class Element {
    public enum Node {
        case element(Element)
        case text(String)
    }

    public struct Attribute: Hashable, Sendable {
        public var name: String
        /// Name of the namespace; empty if there is none.
        public var namespace: String
        public var value: String

        public init(name: String, namespace: String = "", value: String) {
            self.name = name
            self.namespace = namespace
            self.value = value
        }
    }

    public var localName: String
    /// Name of the namespace; empty if there is none.
    public var namespaceName: String
    public var attributes: [Attribute] = []
    public var content: [Node] = []

    public init(_ localName: String, _ namespace: Namespace, _ attributes: KeyValuePairs<String, String> = [:], text: String? = nil) {
        self.localName = localName
        namespaceName = namespace.name
        self.attributes = attributes.map { Attribute(name: $0.key, namespace: "", value: $0.value) }
        if let text { content = [.text(text)] }
    }

    /// A copy of what was parsed.
    public convenience init(_ view: ElementView) {
        self.init(startTagOf: view)
        var pending = [(element: self, view: view)]
        while let (element, view) = pending.popLast() {
            for piece in view.content {
                switch piece {
                case .text(let text): element.append(text: text)
                case .element(let child):
                    let copy = Element(startTagOf: child)
                    element.content.append(.element(copy))
                    pending.append((copy, child))
                }
            }
        }
    }

    private init(startTagOf view: ElementView) {
        localName = view.localName
        namespaceName = view.namespaceName
        attributes = view.attributes.map { Attribute(name: $0.localName, namespace: $0.namespaceName, value: $0.value) }
    }

    deinit {
        // The compiler would free the tree by recursion.
        var doomed: [Element] = []
        Self.move(&content, to: &doomed)
        while var element = doomed.popLast() {
            if isKnownUniquelyReferenced(&element) { Self.move(&element.content, to: &doomed) }
        }
    }

    private static func move(_ content: inout [Node], to elements: inout [Element]) {
        for case .element(let element) in content { elements.append(element) }
        content = []
    }
}

extension Element {
    public func isNamed(_ local: String, _ namespace: Namespace) -> Bool {
        localName == local && namespaceName == namespace.name
    }

    /// An attribute without namespace.
    public subscript(attribute name: String) -> String? {
        get { attributes.first { $0.name == name && $0.namespace.isEmpty }?.value }
        set {
            let index = attributes.firstIndex { $0.name == name && $0.namespace.isEmpty }
            switch (index, newValue) {
            case (let index?, let value?): attributes[index].value = value
            case (let index?, nil): attributes.remove(at: index)
            case (nil, let value?): attributes.append(Attribute(name: name, namespace: "", value: value))
            case (nil, nil): break
            }
        }
    }

    /// The elements directly in this one.
    public var children: [Element] {
        content.compactMap { if case .element(let element) = $0 { element } else { nil } }
    }

    public func firstChild(_ local: String, _ namespace: Namespace) -> Element? {
        children.first { $0.isNamed(local, namespace) }
    }

    /// The text directly in this element.
    public var text: String {
        content.reduce(into: "") { if case .text(let text) = $1 { $0 += text } }
    }

    @discardableResult
    public func append(_ child: Element) -> Element {
        content.append(.element(child))
        return child
    }

    /// Adds text; it joins text that is already last.
    public func append(text: String) {
        guard !text.isEmpty else { return }
        if case .text(let before)? = content.last {
            content[content.count - 1] = .text(before + text)
        } else {
            content.append(.text(text))
        }
    }
}

extension Element: Equatable {
    /// The same names, attributes in any order, and content.
    public static func == (a: Element, b: Element) -> Bool {
        var pairs = [(a, b)]
        while let (a, b) = pairs.popLast() {
            if a === b { continue }
            guard a.localName == b.localName, a.namespaceName == b.namespaceName, Set(a.attributes) == Set(b.attributes),
                a.content.count == b.content.count
            else { return false }
            for (one, other) in zip(a.content, b.content) {
                switch (one, other) {
                case (.text(let one), .text(let other)): guard one.utf8.elementsEqual(other.utf8) else { return false }
                case (.element(let one), .element(let other)): pairs.append((one, other))
                case (.text, .element), (.element, .text): return false
                }
            }
        }
        return true
    }
}

extension XMLWriter {
    /// A whole tree.
    public mutating func append(_ element: Element) {
        open(element)
        var path = [element.content[...]]
        while let node = path[path.count - 1].popFirst() ?? leave(&path) {
            switch node {
            case .text(let text): self.text(text)
            case .element(let child):
                open(child)
                path.append(child.content[...])
            }
        }
    }

    private mutating func open(_ element: Element) {
        open(element.localName, NamespaceName(element.namespaceName))
        for one in element.attributes { attribute(one.name, NamespaceName(one.namespace), one.value) }
    }

    /// Closes what is finished, up to where something is left to write.
    private mutating func leave(_ path: inout [ArraySlice<Element.Node>]) -> Element.Node? {
        while let last = path.last {
            if last.isEmpty {
                path.removeLast()
                close()
            } else {
                return path[path.count - 1].popFirst()
            }
        }
        return nil
    }
}
