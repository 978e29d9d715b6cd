import MartletFeatures
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0059 Result Set Management")
struct ResultSetsTests {
    private func request(_ content: String) throws -> ResultSetRequest {
        let text = "<query xmlns='urn:x'>\(content)</query>"
        return try ResultSetRequest(in: parseElement(ByteBuffer(string: text), limits: .authenticated).root)
    }

    private func set(_ content: String) -> String { "<set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>" }

    @Test(
        "a request names a page and its size (§2)",
        arguments: [
            ("", .init(.first)), ("<max>10</max>", .init(.first, max: 10)), ("<max>10</max><after>a</after>", .init(.after("a"), max: 10)),
            ("<before>b</before>", .init(.before("b"))), ("<max>5</max><before/>", .init(.last, max: 5)), ("<before></before>", .init(.last)),
            ("<after/>", .init(.first)), ("<index>371</index><max>0</max>", .init(.index(371), max: 0)),
            ("<max>99999999999999999999999</max>", .init(.first, max: .max)), ("<max xmlns='urn:other'>x</max>", .init(.first)),
        ] as [(String, ResultSetRequest)])
    func reading(content: String, expected: ResultSetRequest) throws {
        #expect(try request(set(content)) == expected)
    }

    @Test("without a set the first page is asked for")
    func none() throws {
        #expect(try request("") == ResultSetRequest(.first))
    }

    @Test(
        "nonsense is a bad request",
        arguments: [
            "<max/>", "<max>-1</max>", "<max>+1</max>", "<max>ten</max>", "<max> 1</max>", "<max>1</max><max>1</max>", "<index>x</index>",
            "<before/><after>a</after>", "<after>a</after><after>a</after>", "<index>1</index><before/>", "<max>1.5</max>",
        ])
    func nonsense(_ content: String) {
        #expect(throws: StanzaError.self) { try request(set(content)) }
        do { _ = try request(set(content)) } catch { #expect((error as? StanzaError)?.condition == .badRequest) }
    }

    @Test("a request asks for one page")
    func two() {
        #expect(throws: StanzaError.self) { try request(set("") + set("")) }
    }

    @Test("a page has as many items as were asked for, within the service's limit")
    func limits() {
        #expect(ResultSetRequest(max: nil).limit(usual: 50, most: 250) == 50)
        #expect(ResultSetRequest(max: 250).limit(usual: 50, most: 250) == 250)
        #expect(ResultSetRequest(max: 251).limit(usual: 50, most: 250) == 250)
        #expect(ResultSetRequest(max: 0).limit(usual: 50, most: 250) == 0)
    }

    @Test(
        "a response says which part of the whole it is (§2.1)",
        arguments: [
            (
                ResultSetPage(first: "a", last: "b", index: 0, count: 800),
                "<set xmlns='http://jabber.org/protocol/rsm'><first index='0'>a</first><last>b</last><count>800</count></set>"
            ),
            (ResultSetPage(first: "a", last: "b"), "<set xmlns='http://jabber.org/protocol/rsm'><first>a</first><last>b</last></set>"),
            (ResultSetPage(count: 0), "<set xmlns='http://jabber.org/protocol/rsm'><count>0</count></set>"),
            (ResultSetPage(), "<set xmlns='http://jabber.org/protocol/rsm'/>"),
        ])
    func writing(page: ResultSetPage, text: String) {
        var writer = XMLWriter()
        page.write(to: &writer)
        #expect(String(buffer: writer.buffer) == text)
    }
}
