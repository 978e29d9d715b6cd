package import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore

/// What an archive says: results, the end of them, and what it holds (§4.2, §4.3, §5).
package enum ArchiveAnswers {
    /// One message of the archive, to the session that asked.
    ///
    /// - Returns: `nil` for a log entry that is no message.
    package static func result(_ logged: LoggedMessage, of account: BareJID, to session: FullJID, queryID: String?) -> EncodedStanza? {
        guard let message = Stanza(sent: logged.stanza) else { return nil }
        return StanzaBuilder.message(.normal, from: .bare(account), to: .full(session)) { writer in
            writer.element("result", .archive, ["queryid": queryID, "id": StanzaIDs.text(of: logged.view)]) { writer in
                writer.forwarded(message, since: logged.time)
            }
        }
    }

    /// The same for itself, as exports have it (XEP-0227 §4.7).
    package static func record(_ logged: LoggedMessage) -> ByteBuffer? {
        guard let message = Stanza(sent: logged.stanza) else { return nil }
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("result", .archive, ["id": StanzaIDs.text(of: logged.view)]) { writer in
            writer.forwarded(message, since: logged.time)
        }
        return writer.buffer
    }

    /// Ends the results of a query (§4.3.2). What is first and last on a page does not depend on how it is sent (§4.3.4).
    ///
    /// - Parameter isStable: whether the same query would give the same again.
    package static func fin(_ page: ArchivePage, isStable: Bool = true) -> IQReply {
        let ends = [page.messages.first, page.messages.last].map { $0.map { StanzaIDs.text(of: $0.view) } }
        let set = ResultSetPage(first: ends[0], last: ends[1], count: page.count)
        return IQReply { writer in
            writer.element("fin", .archive, ["complete": page.isComplete ? "true" : nil, "stable": isStable ? nil : "false"]) { set.write(to: &$0) }
        }
    }

    /// The first and the last message of an archive; of an empty one nothing (§5).
    package static func metadata(_ ends: ArchiveEnds?) -> IQReply {
        IQReply { writer in
            writer.element("metadata", .archive) { writer in
                guard let ends else { return }
                write("start", ends.first, to: &writer)
                write("end", ends.last, to: &writer)
            }
        }
    }

    private static func write(_ name: StaticString, _ end: ArchiveEnds.End, to writer: inout XMLWriter) {
        writer.element(name, .archive, ["id": StanzaIDs.text(of: end.view), "timestamp": DateTime.text(milliseconds: end.time)])
    }

    /// The form that a `get` of the query answers with (§4.1.5).
    package static func form() -> IQReply {
        IQReply { writer in
            writer.element("query", .archive) { ArchiveQuery.form().write(to: &$0) }
        }
    }

    /// The same of a node (XEP-0442).
    package static func form(ofNode node: String) -> IQReply {
        IQReply { writer in
            writer.element("query", .archive, ["node": node]) { ArchiveQuery.formOfItems().write(to: &$0) }
        }
    }
}
