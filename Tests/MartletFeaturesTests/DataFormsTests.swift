import MartletFeatures
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0004 Data Forms, XEP-0068 Field Standardization, XEP-0122 Data Forms Validation")
struct DataFormsTests {
    private func parse(_ content: String, type: String = "submit", limits: DataForm.Limits = DataForm.Limits()) throws -> DataForm {
        let text = "<x xmlns='jabber:x:data' type='\(type)'>\(content)</x>"
        return try DataForm(parseElement(ByteBuffer(string: text), limits: .authenticated).root, limits: limits)
    }

    private func condition(_ body: () throws -> Void) -> StanzaError.Condition? {
        do { try body() } catch { return (error as? StanzaError)?.condition }
        return nil
    }

    private func written(_ form: DataForm) -> String {
        var writer = XMLWriter()
        form.write(to: &writer)
        return String(buffer: writer.buffer)
    }

    @Test("a form is read as it was written, whatever is in it")
    func roundTrip() throws {
        var choice = DataForm.Field("choice", .listSingle, ["b"])
        choice.label = "Which & why"
        choice.description = "one of <two>"
        choice.isRequired = true
        choice.options = [.init("a", label: "A"), .init("b")]
        var open = DataForm.Field("ids", .listMulti)
        open.validation = .init(datatype: "xs:string", isOpen: true)
        var form = DataForm(.form, type: "urn:example:form", fields: [choice, open, .init(nil, .fixed, ["a line", "another"])])
        form.title = "Title"
        form.instructions = ["one", "two"]
        #expect(try DataForm(parseElement(ByteBuffer(string: written(form)), limits: .authenticated).root) == form)

        let columns = [DataForm.Field("name", .textSingle), .init("jid", .jidSingle)]
        let result = DataForm(
            .result, reported: columns, items: [[.init("name", nil, ["Romeo"]), .init("jid", nil, ["romeo@montague.example"])], [.init("name", nil, [])]])
        #expect(try DataForm(parseElement(ByteBuffer(string: written(result)), limits: .authenticated).root) == result)
    }

    @Test("a form is written as in XEP-0004 §3")
    func writing() {
        #expect(
            written(DataForm(.submit, type: "t", fields: [.init("f", nil, ["<v>"])])) == """
                <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>t</value></field>\
                <field var='f'><value>&lt;v&gt;</value></field></x>
                """)
    }

    @Test(
        "what is no form is a bad request (§3)",
        arguments: [
            "<field/>", "<field type='text-single'><value>a</value></field>", "<field var='a'/><field var='a'/>",
            "<field var='a' type='text-single'><value>1</value><value>2</value></field>",
            "<field var='a' type='boolean'><value>1</value><value>1</value></field>",
            "<field var='a' type='list-single'><option/></field>", "<title>a</title><title>b</title>", "<item/>",
            "<reported><field var='a'/></reported><reported><field var='a'/></reported>", "<item><field var='a'/><field var='a'/></item>",
        ])
    func malformed(_ content: String) {
        #expect(condition { _ = try parse(content) } == .badRequest)
    }

    @Test("a form has one of four types (§3.1)", arguments: [("form", true), ("submit", true), ("cancel", true), ("result", true), ("Submit", false), ("", false)])
    func types(type: String, isOne: Bool) {
        #expect(condition { _ = try parse("", type: type) } == (isOne ? nil : .badRequest))
    }

    @Test("an unknown type of field is read as one of no type, and other namespaces are passed over (§3.3)")
    func unknown() throws {
        let form = try parse("<other xmlns='urn:x'/><field var='a' type='new'><media xmlns='urn:m'/><value>1</value></field>")
        #expect(form.fields == [.init("a", nil, ["1"])])
    }

    @Test("fields, values and bytes have limits, each on both sides")
    func limits() throws {
        var limits = DataForm.Limits()
        (limits.fieldsMax, limits.valuesMax, limits.bytesMax) = (3, 2, 10)
        let fields = { (count: Int) in (0..<count).map { "<field var='\($0)'/>" }.joined() }
        #expect(try parse(fields(3), limits: limits).fields.count == 3)
        #expect(condition { _ = try parse(fields(4), limits: limits) } == .policyViolation)
        #expect(condition { _ = try parse(fields(2) + "<item>\(fields(2))</item>", limits: limits) } == .policyViolation)
        let value = "<value/>"
        #expect(try parse("<field var='a'>\(value + value)</field>", limits: limits).fields[0].values.count == 2)
        #expect(condition { _ = try parse("<field var='a'>\(value + value)<option>\(value)</option></field>", limits: limits) } == .policyViolation)
        #expect(try parse("<title>1234567</title><field var='abc'/>", limits: limits).title == "1234567")
        #expect(condition { _ = try parse("<title>12345678</title><field var='abc'/>", limits: limits) } == .policyViolation)
        #expect(condition { _ = try parse("<field var='abc' label='1234'><desc>1234</desc></field>", limits: limits) } == .policyViolation)
    }

    @Test("the type of a form or result is a hidden field; in a submission it may go without a type (XEP-0068 §3)")
    func formType() throws {
        let (hidden, bare) = ("<field var='FORM_TYPE' type='hidden'><value>t</value></field>", "<field var='FORM_TYPE'><value>t</value></field>")
        for type in ["form", "result", "submit"] { #expect(try parse(hidden, type: type).type == "t") }
        #expect(try parse(bare).type == "t")
        for type in ["form", "result"] { #expect(try parse(bare, type: type).type == nil) }
        #expect(try parse("<field var='FORM_TYPE' type='hidden'><value>t</value><value>u</value></field>").type == nil)
    }

    // MARK: Submissions

    private func submission(_ fields: String, type: String = "t") throws -> FormSubmission {
        try FormSubmission(parse("<field var='FORM_TYPE'><value>t</value></field>" + fields), type: type)
    }

    @Test("the fields of a submission are read by name and kind")
    func reading() throws {
        var form = try submission(
            """
            <field var='text'><value>a</value></field><field var='many' type='text-multi'><value>a</value><value>b</value></field>\
            <field var='yes' type='boolean'><value>1</value></field><field var='no'><value>false</value></field>\
            <field var='jid' type='jid-single'><value>Juliet@Capulet.Example</value></field>\
            <field var='time'><value>2010-07-07T13:23:54Z</value></field><field var='unset'/>
            """)
        #expect(try form.text("text") == "a")
        #expect(try form.texts("many") == ["a", "b"])
        #expect(try form.boolean("yes") == true)
        #expect(try form.boolean("no") == false)
        #expect(try form.address("jid") == JID("juliet@capulet.example"))
        #expect(try form.dateTime("time") == 1_278_509_034_000)
        #expect(try form.text("unset") == nil)
        #expect(try form.text("missing") == nil)
        #expect(try form.texts("missing") == [])
        #expect(try form.text("text") == nil)
        try form.finish { _ in .internalServerError }
    }

    @Test("what is not of the kind that is asked for is refused")
    func wrongKinds() throws {
        let fields = """
            <field var='two'><value>a</value><value>b</value></field><field var='multi' type='list-multi'><value>a</value></field>\
            <field var='word'><value>yes</value></field><field var='jid'><value>@</value></field><field var='fixed' type='fixed'><value>a</value></field>
            """
        var form = try submission(fields)
        #expect(condition { _ = try form.text("two") } == .badRequest)
        #expect(condition { _ = try form.text("multi") } == .badRequest)
        #expect(condition { _ = try form.boolean("word") } == .badRequest)
        #expect(condition { _ = try form.address("jid") } == .jidMalformed)
        #expect(condition { _ = try form.texts("fixed") } == .badRequest)
        form = try submission(fields)
        #expect(condition { _ = try form.dateTime("word") } == .badRequest)
    }

    @Test("what nobody asked for is refused as the feature says")
    func leftOver() throws {
        var form = try submission("<field var='b'/><field var='a'/><field var='known'/>")
        _ = try form.text("known")
        let rest = form
        #expect(condition { try rest.finish { StanzaError(.featureNotImplemented, text: $0) } } == .featureNotImplemented)
    }

    @Test("a form of another kind or type is refused")
    func otherForms() {
        #expect(condition { _ = try submission("", type: "u") } == .badRequest)
        #expect(condition { _ = try FormSubmission(parse(""), type: "t") } == .badRequest)
        #expect(condition { _ = try FormSubmission(DataForm(.form, type: "t"), type: "t") } == .badRequest)
        #expect(condition { _ = try FormSubmission(DataForm(.cancel, type: "t"), type: "t") } == .badRequest)
    }
}
