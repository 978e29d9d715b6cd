public import NIOCore

extension LDAPMessage {
    /// Writes the message behind what is there.
    public func encode(into buffer: inout ByteBuffer) { buffer.writeBytes(BERWriter.bytes(write)) }

    private func write(_ writer: inout BERWriter) {
        writer.constructed { message in
            message.integer(Int(id))
            operation.write(&message)
            if !controls.isEmpty { message.list(controls, BERTag.constructed(0)) { $1.write(&$0) } }
        }
    }
}

extension LDAPOperation {
    fileprivate func write(_ writer: inout BERWriter) {
        let tag = kind.rawValue
        switch self {
        case .unbindRequest: writer.null(tag)
        case .delRequest(let name): writer.string(name, tag)
        case .abandonRequest(let id): writer.integer(Int(id), tag)
        case .searchResultReference(let uris): writer.strings(uris, tag)
        case .bindRequest(let request): writer.constructed(tag, request.write)
        case .bindResponse(let response): writer.constructed(tag, response.write)
        case .searchRequest(let request): writer.constructed(tag, request.write)
        case .searchResultEntry(let entry), .addRequest(let entry): writer.constructed(tag, entry.write)
        case .modifyRequest(let request): writer.constructed(tag, request.write)
        case .modifyDNRequest(let request): writer.constructed(tag, request.write)
        case .compareRequest(let request): writer.constructed(tag, request.write)
        case .extendedRequest(let request): writer.constructed(tag, request.write)
        case .extendedResponse(let response): writer.constructed(tag, response.write)
        case .intermediateResponse(let response): writer.constructed(tag, response.write)
        case .searchResultDone(let result), .modifyResponse(let result), .addResponse(let result), .delResponse(let result),
            .modifyDNResponse(let result), .compareResponse(let result):
            writer.constructed(tag, result.write)
        }
    }
}

extension LDAPControl {
    func write(_ writer: inout BERWriter) {
        writer.constructed { control in
            control.string(type)
            if isCritical { control.boolean(true) }
            if let value { control.octets(value) }
        }
    }
}

extension LDAPResult {
    fileprivate func write(_ writer: inout BERWriter) {
        writer.enumerated(Int(code.rawValue))
        writer.string(matchedDN)
        writer.string(diagnosticMessage)
        if !referrals.isEmpty { writer.strings(referrals, BERTag.constructed(3)) }
    }
}

extension LDAPAttribute {
    fileprivate func write(_ writer: inout BERWriter) {
        writer.constructed { attribute in
            attribute.string(description)
            attribute.list(values, BERTag.set) { $0.octets($1) }
        }
    }
}

extension LDAPEntry {
    /// Without a tag of its own.
    func write(_ writer: inout BERWriter) {
        writer.string(name)
        writer.list(attributes) { $1.write(&$0) }
    }
}

extension BindRequest {
    fileprivate func write(_ writer: inout BERWriter) {
        writer.integer(version)
        writer.string(name)
        switch authentication {
        case .simple(let password): writer.octets(password, BERTag.context(0))
        case .sasl(let mechanism, let credentials):
            writer.constructed(BERTag.constructed(3)) { sasl in
                sasl.string(mechanism)
                if let credentials { sasl.octets(credentials) }
            }
        }
    }
}

extension BindResponse {
    fileprivate func write(_ writer: inout BERWriter) {
        result.write(&writer)
        if let serverSASLCredentials { writer.octets(serverSASLCredentials, BERTag.context(7)) }
    }
}

extension SearchRequest {
    fileprivate func write(_ writer: inout BERWriter) {
        writer.string(base)
        writer.enumerated(scope.rawValue)
        writer.enumerated(dereferenceAliases.rawValue)
        writer.integer(Int(sizeLimit))
        writer.integer(Int(timeLimit))
        writer.boolean(typesOnly)
        filter.write(&writer)
        writer.strings(attributes)
    }
}

extension ModifyRequest {
    fileprivate func write(_ writer: inout BERWriter) {
        writer.string(name)
        writer.list(changes) { writer, change in
            writer.constructed {
                $0.enumerated(change.kind.rawValue)
                change.attribute.write(&$0)
            }
        }
    }
}

extension ModifyDNRequest {
    fileprivate func write(_ writer: inout BERWriter) {
        writer.string(name)
        writer.string(newRDN)
        writer.boolean(deletesOldRDN)
        if let newSuperior { writer.string(newSuperior, BERTag.context(0)) }
    }
}

extension CompareRequest {
    fileprivate func write(_ writer: inout BERWriter) {
        writer.string(name)
        writer.constructed { assertion in
            assertion.string(attribute)
            assertion.octets(value)
        }
    }
}

extension ExtendedRequest {
    fileprivate func write(_ writer: inout BERWriter) {
        writer.string(name, BERTag.context(0))
        if let value { writer.octets(value, BERTag.context(1)) }
    }
}

extension ExtendedResponse {
    fileprivate func write(_ writer: inout BERWriter) {
        result.write(&writer)
        if let name { writer.string(name, BERTag.context(10)) }
        if let value { writer.octets(value, BERTag.context(11)) }
    }
}

extension IntermediateResponse {
    fileprivate func write(_ writer: inout BERWriter) {
        if let name { writer.string(name, BERTag.context(0)) }
        if let value { writer.octets(value, BERTag.context(1)) }
    }
}
