package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let dataForms: Namespace = "jabber:x:data"
    package static let dataFormValidation: Namespace = "http://jabber.org/protocol/xdata-validate"
}

/// A data form: what is asked (`form`), what is answered (`submit`, `cancel`), what came of it (`result`).
///
/// White space between elements, and elements of other namespaces, are passed over (§3).
package struct DataForm: Hashable, Sendable {
    /// §3.1.
    package enum Kind: String, Hashable, Sendable, CaseIterable { case form, submit, cancel, result }

    package var kind: Kind
    package var title: String?
    package var instructions: [String]
    /// Without duplicates by name.
    package var fields: [Field]
    /// What the items of a result consist of (§3.4).
    package var reported: [Field]
    package var items: [[Field]]

    package init(
        _ kind: Kind, title: String? = nil, instructions: [String] = [], fields: [Field] = [], reported: [Field] = [], items: [[Field]] = []
    ) {
        self.kind = kind
        self.title = title
        self.instructions = instructions
        self.fields = fields
        self.reported = reported
        self.items = items
    }

    /// The form with its type, the hidden field `FORM_TYPE`, in front (XEP-0068).
    package init(_ kind: Kind, type: String, fields: [Field] = []) {
        self.init(kind, fields: [Field(Self.typeName, .hidden, [type])] + fields)
    }

    /// What names a form's type among its fields (XEP-0068).
    package static let typeName = "FORM_TYPE"

    /// Which fields may be expected (XEP-0068 §3). Of a form or result only a hidden field says so; of a submission any of that
    /// name, as types may be left out there.
    package var type: String? {
        guard let field = fields.first(where: { $0.name == Self.typeName }), field.values.count == 1 else { return nil }
        switch kind {
        case .form, .result: return field.kind == .hidden ? field.values[0] : nil
        case .submit, .cancel: return field.values[0]
        }
    }
}

extension DataForm {
    package struct Field: Hashable, Sendable {
        /// §3.3.
        package enum Kind: String, Hashable, Sendable, CaseIterable {
            case boolean, fixed, hidden
            case jidMulti = "jid-multi"
            case jidSingle = "jid-single"
            case listMulti = "list-multi"
            case listSingle = "list-single"
            case textMulti = "text-multi"
            case textPrivate = "text-private"
            case textSingle = "text-single"

            /// Whether a field of that kind may have several values. A hidden one may: it is there to be sent back as it came.
            package var isMultiple: Bool {
                switch self {
                case .fixed, .hidden, .jidMulti, .listMulti, .textMulti: true
                case .boolean, .jidSingle, .listSingle, .textPrivate, .textSingle: false
                }
            }
        }

        package struct Option: Hashable, Sendable {
            package var value: String
            package var label: String?
            package init(_ value: String, label: String? = nil) { self.value = value; self.label = label }
        }

        /// XEP-0122, as far as it says what a value is.
        package struct Validation: Hashable, Sendable {
            /// As in `xs:dateTime`; `nil` is `xs:string`.
            package var datatype: String?
            /// Whether a value may also be another one than the options (XEP-0122 §3.2.2).
            package var isOpen: Bool
            /// What a number may be (XEP-0122 §3.2.3). Written, not read.
            package var range: ClosedRange<Int>?
            package init(datatype: String?, isOpen: Bool = false, range: ClosedRange<Int>? = nil) {
                self.datatype = datatype
                self.isOpen = isOpen
                self.range = range
            }
        }

        /// `var`; only a fixed field may be without.
        package var name: String?
        /// `nil` where it is not said or not known: read as `text-single` (§3.3).
        package var kind: Kind?
        package var label: String?
        package var description: String?
        package var isRequired: Bool
        package var values: [String]
        package var options: [Option]
        package var validation: Validation?

        package init(_ name: String?, _ kind: Kind?, _ values: [String] = []) {
            self.name = name
            self.kind = kind
            self.values = values
            isRequired = false
            options = []
        }
    }

    /// How large a form may be that somebody sends. The form is inside a stanza, whose size is limited already; these bound what is made
    /// of it in memory.
    package struct Limits: Hashable, Sendable {
        /// Fields, also those of `reported` and of items, in all.
        package var fieldsMax = 256
        /// Values and options of all fields.
        package var valuesMax = 2_048
        /// Bytes of UTF-8 in names, labels, values and other text, in all.
        package var bytesMax = 65_536
        package init() {}
    }
}

// MARK: Reading

extension DataForm {
    /// Reads `<x xmlns='jabber:x:data'/>`.
    ///
    /// Throws `bad-request` for what is no form (§3) and `policy-violation` beyond `limits`.
    package init(_ element: ElementView, limits: Limits = Limits()) throws(StanzaError) {
        guard element.isNamed("x", .dataForms), let kind = element.attribute("type").flatMap(Kind.init(rawValue:)) else {
            throw .badRequest("a data form has a type")
        }
        var reader = Reader(limits: limits)
        self.init(kind)
        var hasReported = false
        for child in element.children where child.isIn(.dataForms) {
            if child.isNamed("title", .dataForms) {
                guard title == nil else { throw .badRequest("a data form has one title") }
                title = try reader.text(of: child)
            } else if child.isNamed("instructions", .dataForms) {
                instructions.append(try reader.value(of: child))
            } else if child.isNamed("field", .dataForms) {
                fields.append(try reader.field(child))
            } else if child.isNamed("reported", .dataForms) {
                guard !hasReported else { throw .badRequest("a data form reports one kind of item") }
                hasReported = true
                reported = try reader.fields(in: child)
            } else if child.isNamed("item", .dataForms) {
                items.append(try reader.fields(in: child))
            }
        }
        try Reader.checkNames(of: fields)
    }

    private struct Reader {
        let limits: Limits
        var fields = 0
        var values = 0
        var bytes = 0

        mutating func fields(in element: ElementView) throws(StanzaError) -> [Field] {
            var fields: [Field] = []
            for child in element.children where child.isNamed("field", .dataForms) { fields.append(try field(child)) }
            guard !fields.isEmpty else { throw .badRequest("an item has fields") }
            try Self.checkNames(of: fields)
            return fields
        }

        mutating func field(_ element: ElementView) throws(StanzaError) -> Field {
            fields += 1
            guard fields <= limits.fieldsMax else { throw .policyViolation("a data form may have \(limits.fieldsMax) fields") }
            var field = Field(try text(of: element.attribute("var")), element.attribute("type").flatMap(Field.Kind.init(rawValue:)))
            guard field.name != nil || field.kind == .fixed else { throw .badRequest("a field has a name") }
            field.label = try text(of: element.attribute("label"))
            for child in element.children {
                if child.isNamed("value", .dataForms) {
                    field.values.append(try value(of: child))
                } else if child.isNamed("option", .dataForms) {
                    field.options.append(try option(child))
                } else if child.isNamed("desc", .dataForms) {
                    field.description = try text(of: child)
                } else if child.isNamed("required", .dataForms) {
                    field.isRequired = true
                } else if child.isNamed("validate", .dataFormValidation) {
                    field.validation = Field.Validation(
                        datatype: try text(of: child.attribute("datatype")), isOpen: child.hasChild("open", .dataFormValidation))
                }
            }
            if let kind = field.kind, !kind.isMultiple, field.values.count > 1 { throw .badRequest("a \(kind.rawValue) field has one value") }
            return field
        }

        private mutating func option(_ element: ElementView) throws(StanzaError) -> Field.Option {
            let label = try text(of: element.attribute("label"))
            var values = element.children.makeIterator()
            guard let child = values.next(), child.isNamed("value", .dataForms) else { throw .badRequest("an option has a value") }
            return Field.Option(try value(of: child), label: label)
        }

        mutating func value(of element: ElementView) throws(StanzaError) -> String {
            values += 1
            guard values <= limits.valuesMax else { throw .policyViolation("a data form may have \(limits.valuesMax) values") }
            return try text(of: element)
        }

        mutating func text(of element: ElementView) throws(StanzaError) -> String {
            try count(element.text)
        }

        mutating func text(of attribute: String?) throws(StanzaError) -> String? {
            guard let attribute else { return nil }
            return try count(attribute)
        }

        private mutating func count(_ text: String) throws(StanzaError) -> String {
            bytes += text.utf8.count
            guard bytes <= limits.bytesMax else { throw .policyViolation("a data form may have \(limits.bytesMax) bytes of text") }
            return text
        }

        /// §3.2: a name is unique in a form.
        static func checkNames(of fields: [Field]) throws(StanzaError) {
            var names: Set<String> = []
            for case let name? in fields.map(\.name) where !names.insert(name).inserted {
                throw .badRequest("a field is there twice")
            }
        }
    }
}

// MARK: Writing

extension DataForm {
    package func write(to writer: inout XMLWriter) {
        writer.element("x", .dataForms, ["type": kind.rawValue]) { writer in
            if let title { writer.element("title", .dataForms, text: title) }
            for line in instructions { writer.element("instructions", .dataForms, text: line) }
            for field in fields { field.write(to: &writer) }
            Self.write("reported", reported, to: &writer)
            for item in items { Self.write("item", item, to: &writer) }
        }
    }

    private static func write(_ name: StaticString, _ fields: [Field], to writer: inout XMLWriter) {
        if fields.isEmpty { return }
        writer.element(name, .dataForms) { writer in
            for field in fields { field.write(to: &writer) }
        }
    }
}

extension DataForm.Field {
    fileprivate func write(to writer: inout XMLWriter) {
        writer.element("field", .dataForms, ["var": name, "type": kind?.rawValue, "label": label]) { writer in
            if let description { writer.element("desc", .dataForms, text: description) }
            if isRequired { writer.element("required", .dataForms) }
            for value in values { writer.element("value", .dataForms, text: value) }
            for option in options {
                writer.element("option", .dataForms, ["label": option.label]) { $0.element("value", .dataForms, text: option.value) }
            }
            guard let validation else { return }
            writer.element("validate", .dataFormValidation, ["datatype": validation.datatype]) { writer in
                if validation.isOpen { writer.element("open", .dataFormValidation) }
                if let range = validation.range {
                    writer.element("range", .dataFormValidation, ["min": String(range.lowerBound), "max": String(range.upperBound)])
                }
            }
        }
    }
}

extension DataForm {
    /// Further information in a service discovery answer (XEP-0128 §3): a result.
    package init(_ form: DiscoForm) {
        self.init(.result, type: form.type, fields: form.fields.map { Field($0.name, Field.Kind(rawValue: $0.kind.rawValue), $0.values) })
    }
}

// MARK: Submissions

/// A form that was filled in, read field by field: each is asked for by its name and kind, once; what nobody asked for is found by
/// ``finish(_:)``.
///
/// A field without a value is one that is not set. Whatever is not as it is asked for is a `bad-request`.
package struct FormSubmission {
    private var fields: [String: DataForm.Field]

    /// - Parameter type: the `FORM_TYPE` that is expected; another one, or none, is refused.
    package init(_ form: DataForm, type: String) throws(StanzaError) {
        guard form.kind == .submit else { throw .badRequest("the form is no submission") }
        guard form.type == type else { throw .badRequest("the form is not of type \(type)") }
        fields = [:]
        for field in form.fields {
            if let name = field.name, name != DataForm.typeName { fields[name] = field }
        }
    }

    /// Whether the field is there and nobody has asked for it.
    package func has(_ name: String) -> Bool { fields[name] != nil }

    /// The value of a field that has at most one.
    package mutating func text(_ name: String) throws(StanzaError) -> String? {
        guard let field = fields.removeValue(forKey: name) else { return nil }
        if let kind = field.kind, kind.isMultiple, kind != .hidden { throw .badRequest("\(name) has one value") }
        guard field.values.count <= 1 else { throw .badRequest("\(name) has one value") }
        return field.values.first
    }

    /// The values of a field that may have many.
    package mutating func texts(_ name: String) throws(StanzaError) -> [String] {
        guard let field = fields.removeValue(forKey: name) else { return [] }
        guard field.kind != .fixed else { throw .badRequest("\(name) is not there to be read only") }
        return field.values
    }

    /// `1`, `true`, `0` or `false` (§3.3).
    package mutating func boolean(_ name: String) throws(StanzaError) -> Bool? {
        switch try text(name) {
        case nil: return nil
        case "1", "true": return true
        case "0", "false": return false
        case .some: throw .badRequest("\(name) is true or false")
        }
    }

    /// What is no address is `jid-malformed`.
    package mutating func address(_ name: String) throws(StanzaError) -> JID? {
        guard let text = try text(name) else { return nil }
        guard let address = try? JID(text) else { throw .jidMalformed }
        return address
    }

    /// Milliseconds since 1970 (XEP-0082).
    package mutating func dateTime(_ name: String) throws(StanzaError) -> Int64? {
        guard let text = try text(name) else { return nil }
        guard let milliseconds = DateTime.milliseconds(of: text) else { throw .badRequest("\(name) is no date and time of XEP-0082") }
        return milliseconds
    }

    /// Refuses what nobody asked for with `error`.
    package consuming func finish(_ error: (_ name: String) -> StanzaError) throws(StanzaError) {
        if let name = fields.keys.min() { throw error(name) }
    }
}

// MARK: Fields of configurations

extension DataForm.Field {
    init(_ name: String, _ kind: Kind, _ label: String, _ values: [String]) {
        self.init(name, kind, values)
        self.label = label
    }

    static func text(_ name: String, _ label: String, _ value: String) -> Self { .init(name, .textSingle, label, [value]) }
    static func flag(_ name: String, _ label: String, _ value: Bool) -> Self { .init(name, .boolean, label, [value ? "1" : "0"]) }

    static func number(_ name: String, _ label: String, _ value: Int, _ range: ClosedRange<Int>) -> Self {
        var field = DataForm.Field(name, .textSingle, label, [String(value)])
        field.validation = Validation(datatype: "xs:integer", range: range)
        return field
    }

    static func choice(_ name: String, _ label: String, _ value: String, _ options: [(String, String)]) -> Self {
        var field = DataForm.Field(name, .listSingle, label, [value])
        field.options = options.map { Option($0.0, label: $0.1) }
        return field
    }

    /// The field as somebody who has filled in the form sends it.
    var submitted: Self { DataForm.Field(name, kind, values) }
}

extension FormSubmission {
    mutating func text(_ name: String, bytesMax: Int) throws(StanzaError) -> String? {
        guard let text = try text(name) else { return nil }
        guard text.utf8.count <= bytesMax else { throw .notAcceptable("\(name) may have \(bytesMax) bytes") }
        return text
    }

    /// `nil` if the field is not there.
    mutating func textsIfAny(_ name: String) throws(StanzaError) -> [String]? {
        has(name) ? try texts(name) : nil
    }

    mutating func choice<Choice: RawRepresentable<String>>(_ name: String) throws(StanzaError) -> Choice? {
        guard let text = try text(name) else { return nil }
        guard let choice = Choice(rawValue: text) else { throw .badRequest("\(name) is not one of the options") }
        return choice
    }

    /// - Parameter unlimited: a word for the most that is allowed.
    mutating func number(_ name: String, _ range: ClosedRange<Int>, _ unlimited: String? = nil) throws(StanzaError) -> Int? {
        guard let text = try text(name), !text.isEmpty else { return nil }
        if text == unlimited { return range.upperBound }
        guard let number = Int(text) else { throw .badRequest("\(name) is a number") }
        guard range.contains(number) else { throw .notAcceptable("\(name) is from \(range.lowerBound) to \(range.upperBound)") }
        return number
    }
}
