import MartletNetwork

extension ValueType where Value == String {
    /// An object identifier in dots (RFC 4512 §1.4).
    static var objectIdentifier: Self {
        ValueType(expected: "an object identifier, such as 1.3.6.1.4.1.99999.1") { text, _ throws(ValueFault) in
            guard PolicyDemand.identifier(text) != nil else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }

    /// How subjects of certificates look.
    static var subjectTemplate: Self {
        ValueType(expected: "a distinguished name with \(SubjectTemplate.placeholder)") { text, _ throws(ValueFault) in
            do throws(SubjectTemplate.Fault) { return try SubjectTemplate(text).text } catch { throw .impossible("\(error)") }
        } write: {
            $0
        }
    }
}
